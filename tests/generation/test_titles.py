"""Titles by a model: one call after the first answer, counted as usage, that never holds anything up."""

import contextlib

import pytest
from asgiref.sync import sync_to_async

from chat.models import Conversation, Generation, LoggedEvent, Message, Model
from tests.generation.support import ask_once
from tests.support.query_plans import Recorder

pytestmark = pytest.mark.django_db

QUESTION = "Which rivers are long? [[deltas=3]]"
SMALL = "fake-text-Rivers.:small"


@pytest.fixture
def titling(living):
    """Return a context manager: a Life in which a second model writes titles."""

    @contextlib.asynccontextmanager
    async def live():
        async with living() as life:
            first = await Model.objects.select_related("endpoint").aget()
            small = Model(endpoint=first.endpoint, name=SMALL, writes_titles=True)
            await small.asave()
            yield life

    return live


async def title_after(life, text, **more):
    """Return the title of a conversation that begins with `text`, once nothing runs any more."""
    done = await life.answer(text, **more)
    while len(life.runner.background):
        await life.runner.background.wait()
    return await Conversation.objects.aget(pk=done.message.conversation_id)


async def test_the_chosen_model_names_a_conversation_after_its_first_answer(titling):
    async with titling() as life:
        heard = []
        life.runtime.notifications.subscribe(life.user.pk, heard.append)
        named = await title_after(life, QUESTION)
        assert named.title == "Rivers"
        assert [record.body["model"] for record in life.provider.requests] == ["fake", SMALL]
        assert life.provider.requests[1].body["max_tokens"] == 300
        assert "renamed" in [notice.what for notice in heard]
        call = await Generation.objects.aget(source="title")
        assert (call.status, call.user_id) == ("completed", life.user.pk)
        assert call.output_tokens  # counted as usage of the user

        await title_after(life, "and the short ones?", conversation_id=named.pk)
        assert await Generation.objects.filter(source="title").acount() == 1


async def test_without_a_model_for_titles_the_end_of_an_answer_does_not_look_for_one(living):
    async with living() as life:
        await life.runtime.heartbeat.tick()
        recorder = await sync_to_async(Recorder)()
        with recorder.recording():
            await title_after(life, QUESTION)
    sql = [str(query) for query in recorder.queries]
    assert any("chat_generation" in each for each in sql)
    assert not any("writes_titles" in each.partition(" WHERE ")[2] for each in sql)


async def test_what_the_call_was_sent_is_not_kept(titling):
    async with titling() as life:
        named = await title_after(life, QUESTION)
        call = await Generation.objects.select_related("message__conversation").aget(source="title")
        about = f"Title of conversation {named.pk}"
        assert call.request["messages"] == [{"role": "user", "content": about}]
        assert call.message.conversation.title == about
        texts = Message.objects.filter(conversation=call.message.conversation).order_by("pk")
        assert [text async for text in texts.values_list("text", flat=True)] == [about, ""]
        assert not await LoggedEvent.objects.filter(generation_id=call.pk).aexists()


async def test_a_call_that_fails_leaves_the_first_line(titling):
    async with titling() as life:
        await Model.objects.filter(name=SMALL).aupdate(name="fake-status-401")
        named = await title_after(life, QUESTION)
        call = await Generation.objects.aget(source="title")
    assert named.title.startswith("Which rivers are long?")
    assert call.request["messages"][0]["content"].startswith("Title of conversation")


async def test_no_call_is_made_unless_staff_chose_a_model(living):
    async with living() as life:
        named = await title_after(life, QUESTION)
        assert len(life.provider.requests) == 1
    assert named.title.startswith("Which rivers are long?")


async def test_a_temporary_conversation_and_one_that_was_renamed_keep_theirs(titling):
    async with titling() as life:
        await title_after(life, QUESTION, is_temporary=True)
        assert len(life.provider.requests) == 1
        started = await life.ask(QUESTION)
        await Conversation.objects.filter(pk=started.conversation_id).aupdate(title="Mine")
        await life.run(started.generation_id)
        while len(life.runner.background):
            await life.runner.background.wait()
        assert (await Conversation.objects.aget(pk=started.conversation_id)).title == "Mine"


async def test_an_answer_that_failed_is_not_named(titling):
    async with titling() as life:
        await title_after(life, "Why? [[status=401]]")
        assert len(life.provider.requests) == 1


def test_one_model_writes_titles(model):
    model.writes_titles = True
    model.save()
    other = Model.objects.create(endpoint=model.endpoint, name="other", writes_titles=True)
    assert list(Model.objects.filter(writes_titles=True)) == [other]


async def test_a_programs_request_is_not_named(titling):
    async with titling() as life:
        first = await sync_to_async(Model.objects.get)(name="fake")
        await ask_once(life, first, {"role": "user", "content": "hello"})
        while len(life.runner.background):
            await life.runner.background.wait()
        assert len(life.provider.requests) == 1
