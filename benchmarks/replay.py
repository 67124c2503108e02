"""Measure how long a page takes to load a running answer whose log has 10,000 rows.

    python -m benchmarks.replay

Another process owns the answer and counts as alive, so every row is read from the database. A socket
follows from the beginning; the page is loaded as in a browser.
"""

import asyncio
import time

from benchmarks import environment, report
from benchmarks.client import open_client
from tests.support.serving import Session

DELTAS = 10_000
REPEATS = 5

FILL = f"""
from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import events
from chat.models import Conversation, Generation, LoggedEvent, Message, Process

user = get_user_model().objects.get(username="user0")
conversation = Conversation.objects.create(user=user, title="long")
question = conversation.messages.create(role="user", text="Tell me a long story.")
answer = conversation.messages.create(role="assistant", parent=question)
Conversation.objects.filter(pk=conversation.pk).update(leaf=answer)
Process.objects.create(id="another", host="elsewhere", pid=1, url="", counter=1)
generation = Generation.objects.create(
    message=answer, user=user, client_id="long", status="running", owner="another", epoch=1,
    started_at=timezone.now(),
)
LoggedEvent.objects.bulk_create(
    LoggedEvent(
        generation_id=generation.pk, seq=seq, payload=events.encode(events.Delta(f"word {{seq}} ")).decode()
    )
    for seq in range(1, {DELTAS} + 1)
)
print(generation.pk, conversation.pk)
"""


async def replay_s(session: Session, generation: int) -> float:
    """Return the seconds from `follow` to the last row on a new socket."""
    async with open_client(session) as client:
        began = time.monotonic()
        await client.send(type="follow", generation=generation)
        seqs = [frame["seq"] async for frame in client.frames(until_seq=DELTAS)]
        took_s = time.monotonic() - began
    assert seqs == list(range(1, DELTAS + 1))
    return took_s


def main() -> None:
    alive = {"CHATSITE_PROCESS_DEAD_AFTER_S": "600"}
    with environment.provider() as provider, environment.server(provider.base_url, **alive) as site:
        (session,) = environment.sign_in_many(site, 1)
        generation, conversation = site.shell(FILL).split()
        replays = [asyncio.run(replay_s(session, int(generation))) for _ in range(REPEATS)]
        loads = []
        for _ in range(REPEATS):
            began = time.monotonic()
            response = session.get(f"/c/{conversation}/")
            loads.append(time.monotonic() - began)
            assert response.status == 200, response.status
            assert f"word {DELTAS}" in response.text
    report.table(
        f"A running answer of {DELTAS} log rows, {REPEATS} times",
        [
            ("follow from the beginning → last row at a new socket", report.spread(replays), "< 1 s"),
            ("its page", report.spread(loads), ""),
        ],
    )


if __name__ == "__main__":
    main()
