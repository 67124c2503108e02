"""Requests of programs: sent unchanged, with their own limits and fallbacks."""

import pytest
from asgiref.sync import sync_to_async

from chat.models import Attempt, Model
from tests.generation.support import add_fallback, ask_once

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


async def test_what_a_program_asks_is_sent_as_it_is(living):
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {}}],
        },
    ]
    async with living(system_prompt="not sent", context_tokens=256, max_output_tokens=50) as life:
        model = await Model.objects.aget()
        done = await ask_once(life, model, *messages, seed=7, temperature=0.5, max_tokens=9)
        [record] = life.provider.requests
    assert done.status == "completed"
    assert record.body["messages"] == messages
    assert (record.body["seed"], record.body["temperature"], record.body["max_tokens"]) == (7, 0.5, 9)


async def test_a_models_own_limit_holds_for_programs(living):
    async with living(max_output_tokens=5) as life:
        await ask_once(life, await Model.objects.aget(), {"role": "user", "content": "hello"}, max_tokens=9)
        [record] = life.provider.requests
    assert record.body["max_tokens"] == 5


async def test_a_cut_answer_to_a_program_is_continued(living):
    async with living(continuation="plain") as life:
        asked = {"role": "user", "content": "go on [[cut after=5 times=1]]"}
        done = await ask_once(life, await Model.objects.aget(), asked)
        expected = life.provider.text_for(asked["content"])
    assert (done.status, done.message.text, done.calls) == ("completed", expected, 2)


async def test_a_request_too_long_for_its_model_is_not_made_shorter(living):
    async with living() as life:
        many = [{"role": "user", "content": "hello [[context=5]]"}] * 4
        done = await ask_once(life, await Model.objects.aget(), *many)
        assert len(life.provider.requests) == 1
    assert (done.status, done.error_code) == ("failed", "context_too_long")


@pytest.mark.parametrize("own", [None, [], ["other"]])
async def test_a_requests_own_fallbacks_stand_in_for_those_of_its_models_row(living, own):
    async with living() as life:
        life.provider.script("status=401", model="fake")
        rows = await add_fallback(life.provider, "fake:row")
        other = await Model.objects.acreate(endpoint_id=rows.endpoint_id, name="fake:other")
        ids = None if own is None else [other.pk for _name in own]
        model = await Model.objects.aget(is_default=True)
        done = await ask_once(life, model, {"role": "user", "content": "hello"}, fallbacks=ids)
    asked = [row.model_name async for row in Attempt.objects.filter(generation=done)]
    assert asked == ["fake", *(["fake:row"] if own is None else ["fake:other"] if own else [])]


async def test_a_requests_own_fallbacks_are_of_its_models_confidentiality(living):
    async with living() as life:
        life.provider.script("status=401", model="fake")
        public = await add_fallback(life.provider, confidentiality="public")
        model = await Model.objects.aget(is_default=True)
        done = await ask_once(life, model, {"role": "user", "content": "hello"}, fallbacks=[public.pk])
    assert (done.status, done.calls) == ("failed", 1)
