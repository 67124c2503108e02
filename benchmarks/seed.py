"""Fill a database with conversations, to measure pages that list and search them.

    python -m benchmarks.seed [--messages 1000000] [--conversations 50000] [--users 500]

It fills the database of the environment (CHATSITE_DATA_DIR or DATABASE_URL), which has to be migrated and
should be one to throw away. The texts have a vocabulary in which few words are common and most are rare; five
in a hundred are Chinese, and the word `needle` is in five messages. The same arguments make the same texts.
"""

import argparse
import os
import random
import time
from datetime import timedelta
from itertools import accumulate, batched, islice

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
if __name__ == "__main__":
    django.setup()

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from chat import search
from chat.models import Attempt, Conversation, Endpoint, Generation, Message, Model, conversation_summary
from chat.usage import rollup

DAYS = 90
WORDS_PER_TEXT = (10, 45)
SYLLABLES = [a + b for a in "bdgklmnrst" for b in "aeiou"]
HAN = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面"
STATUSES = ["completed"] * 90 + ["stopped"] * 4 + ["failed"] * 4 + ["interrupted"] * 2
CONVERSATIONS_PER_TRANSACTION = 1_000


class Texts:
    """Makes texts; `random_` decides everything."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_
        self._words = ["".join(random_.choices(SYLLABLES, k=random_.randint(1, 5))) for _ in range(30_000)]
        self._weights = list(accumulate(1 / (rank + 2) for rank in range(len(self._words))))

    def text(self) -> str:
        count = self._random.randint(*WORDS_PER_TEXT)
        if self._random.random() < 0.05:
            return "".join(self._random.choices(HAN, k=count * 2)) + "。"
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=count)) + "."


def fill(messages: int, conversations: int, users: int) -> None:
    """Store everything, a thousand conversations in a transaction."""
    random_ = random.Random(1)
    texts = Texts(random_)
    now = timezone.now()
    endpoint, _ = Endpoint.objects.get_or_create(name="seed", defaults={"base_url": "http://127.0.0.1:9/v1"})
    models = [Model.objects.get_or_create(endpoint=endpoint, name=f"seed-{number}")[0] for number in range(5)]
    people = User.objects.bulk_create(
        (User(username=f"seed{number}", password="!") for number in range(users)), ignore_conflicts=True
    )
    people = list(User.objects.filter(username__startswith="seed"))
    needles = set(random_.sample(range(conversations), min(5, conversations)))
    numbers = iter(range(conversations))
    stored = 0
    while some := list(islice(numbers, CONVERSATIONS_PER_TRANSACTION)):
        turns = (messages - stored) // (2 * (conversations - some[0]))
        with transaction.atomic():
            rows = [
                Conversation(
                    user=people[random_.randrange(len(people))],
                    title=texts.text()[:60],
                    model=models[random_.randrange(5)],
                    is_hidden=random_.random() < 0.1,
                    created_at=(at := now - timedelta(days=DAYS) * (1 - number / conversations)),
                    updated_at=at + timedelta(minutes=random_.randint(1, 600)),
                )
                for number in some
            ]
            Conversation.objects.bulk_create(rows)
            first_with_needle = [number in needles for number in some]
            stored += _fill_some(rows, first_with_needle, turns, texts, random_)
        print(f"{stored} messages", flush=True)


def _fill_some(
    conversations: list[Conversation],
    with_needle: list[bool],
    turns: int,
    texts: Texts,
    random_: random.Random,
) -> int:
    parents: list[Message | None] = [None] * len(conversations)
    documents: list[search.Document] = []
    for turn in range(2 * turns):
        rows = [
            Message(
                conversation=conversation,
                parent=parent,
                role="assistant" if turn % 2 else "user",
                text=texts.text() + (" A needle." if turn == 0 and has_needle else ""),
                created_at=conversation.created_at,
            )
            for conversation, parent, has_needle in zip(conversations, parents, with_needle, strict=True)
        ]
        for row in rows if turn % 2 else ():
            row.html = f"<p>{row.text}</p>"
        Message.objects.bulk_create(rows)
        documents += [row.document() for row in rows]
        if turn % 2:
            _fill_generations(rows, random_)
        parents = list(rows)
    documents.sort(key=lambda document: document.message_id)
    for some in batched(documents, 2_000):
        search.store(some)
    for conversation, leaf in zip(conversations, parents, strict=True):
        conversation.leaf = leaf
    Conversation.objects.bulk_update(conversations, ["leaf"], batch_size=500)
    conversation_summary.fill([conversation.pk for conversation in conversations])
    return len(documents)


def _fill_generations(answers: list[Message], random_: random.Random) -> None:
    generations = []
    for answer in answers:
        first = answer.created_at + timedelta(seconds=random_.expovariate(1))
        status = random_.choice(STATUSES)
        generations.append(
            Generation(
                message=answer,
                user_id=answer.conversation.user_id,
                client_id=f"seed-{answer.pk}",
                source="api" if answer.conversation.is_hidden else "websocket",
                status=status,
                error_code="timeout" if status == "failed" else "",
                model=answer.conversation.model,
                model_name=answer.conversation.model.name,
                recoveries=int(random_.random() < 0.02),
                calls=1,
                has_log=False,
                input_tokens=random_.randint(50, 2_000),
                output_tokens=random_.randint(20, 500),
                cost_usd=round(random_.random() / 100, 6),
                created_at=answer.created_at,
                started_at=answer.created_at,
                first_delta_at=first,
                finished_at=first + timedelta(seconds=random_.expovariate(0.2)),
            )
        )
    Generation.objects.bulk_create(generations)
    Attempt.objects.bulk_create(
        Attempt(generation=generation, number=1, model_name=generation.model_name, outcome="completed")
        for generation in generations
    )


def run() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--conversations", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=500)
    options = parser.parse_args()
    started_s = time.monotonic()
    fill(options.messages, options.conversations, options.users)
    rollup.catch_up()
    print(f"{time.monotonic() - started_s:.0f} s")


if __name__ == "__main__":
    run()
