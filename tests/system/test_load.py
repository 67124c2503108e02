"""Right under load: many questions at once, many streams with several readers, on the real writer."""

import asyncio
from functools import partial

import pytest
from django.contrib.auth import get_user_model

from chat import events
from chat.event_log.read import fold
from chat.event_log.writer import ThreadWriter
from chat.fakeprovider import FakeProvider
from chat.models import Conversation, Endpoint, Generation, Message, Model
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db(transaction=True)

ASKS = 200
STREAMS = 50
DELTAS = 60


@pytest.fixture
def writer(db):
    writer = ThreadWriter()
    yield writer
    writer.close()


def test_two_hundred_questions_at_once_are_stored_once_each(writer, model):
    people = get_user_model().objects.bulk_create(
        get_user_model()(username=f"person{number}") for number in range(ASKS)
    )

    async def ask_twice(number):
        verb = partial(Conversation.ask, people[number], f"question {number}", client_id=f"c{number}")
        return await asyncio.gather(writer.arun(verb), writer.arun(verb))

    async def ask_all():
        return await asyncio.gather(*(ask_twice(number) for number in range(ASKS)))

    accepted = asyncio.run(ask_all())

    assert all(first.generation_id == second.generation_id for first, second in accepted)
    assert sorted(pair.is_repeat for both in accepted for pair in both) == [False] * ASKS + [True] * ASKS
    stored = Message.objects.filter(role="user").values_list("text", flat=True)
    assert sorted(stored) == sorted(f"question {number}" for number in range(ASKS))
    assert Generation.objects.filter(status="queued").count() == ASKS
    assert Conversation.objects.count() == ASKS


def test_fifty_streams_with_two_readers_each_give_the_exact_text(writer, user, settings):
    settings.RUNNING_PER_USER = settings.ASKS_PER_MINUTE = STREAMS
    questions = [f"question {number} [[deltas={DELTAS} rate=200]]" for number in range(STREAMS)]

    def ask(number):
        return Conversation.ask(user, questions[number], client_id=f"c{number}")

    async def read(log, generation_id, after_events=0):
        """Read a log as a page does; leave after some events and come back, as a phone does."""
        seen = []
        async for rows in log.follow(generation_id, is_about_to_start=True):
            seen += rows
            if after_events and len(seen) >= after_events:
                break
        if not seen[-1].is_terminal:
            async for rows in log.follow(generation_id, after=seen[-1].seq):
                seen += rows
        return seen

    async def run_all():
        runtime_of_test = open_runtime(writer=writer)
        async with FakeProvider() as provider, runtime_of_test as runtime:
            await Endpoint.objects.acreate(name="fake", base_url=provider.base_url)
            endpoint = await Endpoint.objects.aget(name="fake")
            await Model.objects.acreate(endpoint=endpoint, name="fake", is_default=True)
            asked = await asyncio.gather(*(writer.arun(partial(ask, n)) for n in range(STREAMS)))
            readers = [
                asyncio.create_task(read(runtime.log, accepted.generation_id, after_events))
                for accepted in asked
                for after_events in (0, 5)
            ]
            await asyncio.gather(*(runtime.runner.start(accepted.generation_id) for accepted in asked))
            seen = await asyncio.gather(*readers)
            return asked, seen, [provider.text_for(question) for question in questions]

    asked, seen, expected = asyncio.run(run_all())

    for number, accepted in enumerate(asked):
        for rows in seen[2 * number : 2 * number + 2]:
            assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
            assert fold(rows).text == expected[number]
            assert isinstance(events.decode(rows[-1].payload), events.Completed)
        stored = Message.objects.get(pk=accepted.message_id)
        assert stored.text == expected[number]
    assert Generation.objects.filter(status="completed").count() == STREAMS
