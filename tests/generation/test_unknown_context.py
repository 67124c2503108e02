"""Models whose context size nobody set: it is learned from the endpoint's error."""

import pytest

from chat.models import Model
from tests.generation.support import add_fallback, ask_once

pytestmark = pytest.mark.django_db


async def grow(life, turns, conversation_id=None):
    """Add turns of about 60 words to a conversation; return the finished answers."""
    found = []
    for n in range(turns):
        text = f"turn {n} " + "word " * 60 + "[[text=ok]]"
        done = await life.answer(text, conversation_id=conversation_id)
        conversation_id = done.message.conversation_id
        found.append(done)
    return found


async def context_of(name):
    return (await Model.objects.aget(name=name)).context_tokens


@pytest.mark.parametrize("error", ["openai", "llama"])
async def test_a_conversation_outgrows_a_context_that_nobody_knew(living, error):
    name = f"fake-context-400+context_error-{error}"
    async with living(name=name) as life:
        answers = await grow(life, 14)
        sent = [len(record.body["messages"]) for record in life.provider.requests]
    assert {answer.status for answer in answers} == {"completed"}
    calls = [answer.calls for answer in answers]
    assert sorted(calls) == [1] * 13 + [2]
    assert await context_of(name) == 400
    first_refused = calls.index(2)
    assert not any(answer.left_out for answer in answers[:first_refused])
    assert all(answer.left_out for answer in answers[first_refused:])
    assert sent[first_refused + 1] < sent[first_refused]


async def test_a_size_that_staff_set_stays(living):
    async with living(name="fake-context-100", context_tokens=5000) as life:
        await grow(life, 3)
    assert await context_of("fake-context-100") == 5000


async def test_a_request_that_fails_teaches_the_size_too(living):
    async with living(name="fake-context-100") as life:
        model = await Model.objects.select_related("endpoint").aget()
        done = await ask_once(life, model, {"role": "user", "content": "word " * 200})
    assert (done.status, done.error_code) == ("failed", "context_too_long")
    assert await context_of("fake-context-100") == 100


async def test_a_fallback_of_unknown_size_answers_and_each_learns_its_own(living):
    async with living(name="fake-context-100") as life:
        await add_fallback(life.provider, name="fake-context-150")
        await add_fallback(life.provider, name="fake:large")
        done = await life.answer("word " * 200 + "[[text=ok]]")
        asked = [record.body["model"] for record in life.provider.requests]
    assert done.status == "completed"
    assert asked == ["fake-context-100", "fake-context-150", "fake:large"]
    assert [await context_of(name) for name in asked] == [100, 150, None]
