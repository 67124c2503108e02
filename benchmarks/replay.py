"""A page comes back to an answer in progress whose log has 10,000 rows: how long until it has all of it?

    python -m benchmarks.replay

The answer is that of another process, so that every row is read from the database; that process counts as
alive. A socket follows from the beginning; the page is loaded as a browser would load it.
"""

import asyncio
import time

from benchmarks import stage

DELTAS = 10_000
TIMES = 5

FILL = f"""
from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import events
from chat.models import Conversation, Generation, LoggedEvent, Message, Process

user = get_user_model().objects.get(username="person0")
conversation = Conversation.objects.create(user=user, title="long")
asked = conversation.messages.create(role="user", text="Tell me much.")
answer = conversation.messages.create(role="assistant", parent=asked)
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


async def replay_s(session: stage.Session, generation: int) -> float:
    """Return the seconds from `follow` to the last row on a new socket."""
    async with stage.page(session) as page:
        began = time.monotonic()
        await page.send(type="follow", generation=generation)
        seqs = [frame["seq"] async for frame in page.frames(until_seq=DELTAS)]
        took_s = time.monotonic() - began
    assert seqs == list(range(1, DELTAS + 1))
    return took_s


def main() -> None:
    alive = {"CHATSITE_PROCESS_DEAD_AFTER_S": "600"}
    with stage.provider() as provider, stage.server(provider.base_url, **alive) as site:
        (session,) = stage.people(site, 1)
        generation, conversation = site.shell(FILL).split()
        replays = [asyncio.run(replay_s(session, int(generation))) for _ in range(TIMES)]
        loads = []
        for _ in range(TIMES):
            began = time.monotonic()
            response = session.get(f"/c/{conversation}/")
            loads.append(time.monotonic() - began)
            assert response.status == 200, response.status
            assert f"word {DELTAS}" in response.text
    stage.table(
        f"An answer in progress of {DELTAS} log rows, {TIMES} times",
        [
            ("follow from the beginning → last row at a new socket", stage.spread(replays), "< 1 s"),
            ("its page loads", stage.spread(loads), ""),
        ],
    )


if __name__ == "__main__":
    main()
