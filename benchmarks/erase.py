"""Measure how long a delta waits for its commit while 100,000 messages are erased.

    python -m benchmarks.erase

The messages belong to conversations that were deleted two days ago, so the server's own cleanup erases
them. Twenty answers run meanwhile. A delta is timed from the provider's write to the frame at a socket,
which follows the commit; provider and client share one process and so one clock. The same streams are
measured without the cleanup first.
"""

import asyncio
import contextlib
import itertools
import sqlite3
import time

from benchmarks import environment, report
from benchmarks.client import Answer, open_clients
from chat.fakeprovider import FakeProvider
from chat.fakeprovider.journal import RequestRecord
from tests.support.serving import Server

MESSAGES = 100_000
CONVERSATIONS = 1_000
STREAMS = 20
RATE = 20
QUIET_S = 10
DEADLINE_S = 240
STREAM = f"[[rate={RATE} deltas={RATE * (QUIET_S + DEADLINE_S)}]]"

FILL = f"""
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from chat.models import Attempt, Conversation, Generation, Message, Model

user = get_user_model().objects.first()
model = Model.objects.first()
long_ago = timezone.now() - timedelta(days=2)
turns = {MESSAGES // CONVERSATIONS}
text = "Some words of a user or a model, as long as a short paragraph. " * 8
with transaction.atomic():
    conversations = Conversation.objects.bulk_create(
        Conversation(user=user, title=f"old {{number}}") for number in range({CONVERSATIONS})
    )
    parents = [None] * len(conversations)
    for turn in range(turns):
        messages = Message.objects.bulk_create(
            Message(
                conversation=conversation, parent=parent, text=text, html=text if turn % 2 else "",
                role="assistant" if turn % 2 else "user",
            )
            for conversation, parent in zip(conversations, parents)
        )
        parents = messages
        if turn % 2:
            generations = Generation.objects.bulk_create(
                Generation(
                    message=message, user=user, model=model, client_id=f"old {{message.pk}}",
                    status="completed", has_log=False, finished_at=long_ago,
                )
                for message in messages
            )
            Attempt.objects.bulk_create(
                Attempt(generation=generation, number=1, outcome="completed") for generation in generations
            )
    for conversation, leaf in zip(conversations, parents):
        conversation.leaf = leaf
    Conversation.objects.bulk_update(conversations, ["leaf"], batch_size=500)
"""
DELETE = """
from datetime import timedelta
from django.utils import timezone
from chat.models import Conversation
long_ago = timezone.now() - timedelta(days=2)
print(Conversation.objects.filter(title__startswith="old ").update(deleted_at=long_ago))
"""


def delays(answer: Answer, record: RequestRecord, now_s: float) -> list[tuple[float, float]]:
    """Return (arrival, seconds since it was sent) of each delta.

    `now_s`: the provider's clock minus this process's clock. The provider sends a delta every 1/RATE s, at
    most two milliseconds late.
    """
    assert record.answer is not None
    assert record.first_delta_s is not None
    ends = itertools.accumulate(len(piece) for _, piece in record.answer.parts)
    sent = record.first_delta_s - now_s
    found = []
    number, end, chars = 0, next(ends), 0
    for text, arrived in zip(answer.texts, answer.arrived, strict=True):
        chars += len(text)
        while end <= chars:
            found.append((arrived, arrived - sent - number / RATE))
            number, end = number + 1, next(ends)
    return found


def left(site: Server) -> int:
    """Return the number of messages in deleted conversations."""
    with contextlib.closing(sqlite3.connect(site.data_dir / "db.sqlite3")) as database:
        rows = database.execute(
            "SELECT count(*) FROM chat_message WHERE conversation_id IN "
            "(SELECT id FROM chat_conversation WHERE deleted_at IS NOT NULL)"
        )
        count: int = rows.fetchone()[0]
        return count


async def erase(site: Server) -> tuple[float, float]:
    """Delete the old conversations; return when their erasure began and ended."""
    await asyncio.to_thread(site.shell, DELETE)
    async with asyncio.timeout(DEADLINE_S):
        while await asyncio.to_thread(left, site) == MESSAGES:  # noqa: ASYNC110 - another process erases
            await asyncio.sleep(0.2)
        began = time.monotonic()
        while await asyncio.to_thread(left, site):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        return began, time.monotonic()


async def measure() -> list[tuple[str, str, str]]:
    async with FakeProvider() as provider:
        with environment.server(provider.base_url, CHATSITE_DRAIN_S="0") as site:
            sessions = await asyncio.to_thread(environment.sign_in_many, site, STREAMS)
            await asyncio.to_thread(site.shell, FILL)
            async with open_clients(sessions) as clients:
                answers = [Answer() for _ in clients]
                asking = [
                    asyncio.create_task(client.ask(f"{number} {STREAM}", answer))
                    for number, (client, answer) in enumerate(zip(clients, answers, strict=True))
                ]
                while not all(answer.texts for answer in answers):  # noqa: ASYNC110 - another process sends them
                    await asyncio.sleep(0.1)
                quiet_from = time.monotonic() + 1
                await asyncio.sleep(1 + QUIET_S)
                quiet_until = time.monotonic()
                began, ended = await erase(site)
                assert not any(answer.ended for answer in answers), "an answer ended during the measurement"
                now_s = provider.journal.now_s() - time.monotonic()
                for task in asking:
                    task.cancel()
            records = {record.question.split()[0]: record for record in provider.requests}
            found = [
                delay
                for number, answer in enumerate(answers)
                for delay in delays(answer, records[str(number)], now_s)
            ]
    quiet = [delay for arrived, delay in found if quiet_from < arrived < quiet_until]
    beside = [delay for arrived, delay in found if began < arrived < ended]
    return [
        ("delta sent → committed and at a socket, before", spread(quiet), ""),
        ("the same while messages are erased", spread(beside), "p95 < 50 ms"),
        (f"erasing {MESSAGES} messages and their related rows", f"{ended - began:.0f} s", ""),
    ]


def spread(values: list[float]) -> str:
    shares = ", ".join(
        f"p{share * 100:.0f} {report.ms(report.quantile(values, share))}" for share in (0.5, 0.95, 0.99)
    )
    return f"{shares}, max {report.ms(max(values))}"


def main() -> None:
    rows = asyncio.run(measure())
    report.table(f"{STREAMS} × {RATE} deltas/s beside the erasure of {MESSAGES} messages", rows)


if __name__ == "__main__":
    main()
