"""The end of a very long answer: its text is stored in slices before, and its row only refers to them."""

from functools import partial

import pytest
from asgiref.sync import sync_to_async

from chat import events
from chat.generation import long_answer, text_buffer
from chat.models import Conversation, Generation, Message, TextSlice, rows
from chat.models.long_text import MARK
from tests.generation.support import orphan

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let an answer be long from 40 characters on, and its slices have ten."""
    monkeypatch.setattr(text_buffer, "KEPT_MAX_CHARS", 40)
    monkeypatch.setattr(long_answer, "INLINE_MAX_CHARS", 40)
    monkeypatch.setattr(long_answer, "SLICE_CHARS", 10)


async def stored(message_id, name="text"):
    """Return the value of the row, and the slices that it refers to."""
    [(value, _pk)] = await in_thread(rows.pairs)(Message, (name, "id"), "id = %s", [message_id])
    found = TextSlice.objects.filter(key=value[1:]).order_by("position").values_list("text", flat=True)
    return value, [text async for text in found]


async def test_a_long_text_is_stored_in_slices_and_read_whole(living):
    async with living() as life:
        done = await life.answer("hello [[deltas=40]]")
        expected = life.provider.text_for("hello [[deltas=40]]")
    value, slices = await stored(done.message_id)
    assert (value[0], len(value)) == (MARK, 33)
    assert len(slices) > 10
    assert "".join(slices) == expected == done.message.text
    assert (done.status, done.message.html, done.message.thinking) == ("completed", "", "")


async def test_a_short_text_is_one_value_and_needs_no_slices(living, monkeypatch):
    monkeypatch.setattr(long_answer, "INLINE_MAX_CHARS", 1_000_000)
    async with living() as life:
        done = await life.answer("hello [[deltas=40]]")
        expected = life.provider.text_for("hello [[deltas=40]]")
    assert await stored(done.message_id) == (expected, [])
    assert done.message.html.startswith("<")
    assert not await TextSlice.objects.aexists()


async def test_a_continued_answer_begins_with_the_slices_from_before(living, user):
    async with living(continuation="plain") as life:
        first = await life.answer("long [[finish=length deltas=30 on=1]]")
        ask = partial(Conversation.resume, user, first.message_id, client_id="more")
        accepted = await life.writer.arun(ask)
        await life.run(accepted.generation_id)
        second = await life.row(accepted)
    before, after = first.message.text, second.message.text
    assert len(before) > 40
    assert after.startswith(before)
    assert len(after) > len(before)
    value, slices = await stored(second.message_id)
    assert (value[0], "".join(slices)) == (MARK, after)


async def test_what_a_restart_removes_is_in_no_slice(living):
    async with living() as life:
        old = "an old beginning that is longer than forty characters"
        accepted = await orphan(life, events.Delta(old), events.Restarted("process_lost"))
        await life.run(accepted.generation_id, from_owner="dead")
        expected = life.provider.text_for("orphan")
    done = await life.row(accepted)
    value, slices = await stored(done.message_id)
    assert (value[0], "".join(slices)) == (MARK, expected)
    assert "old beginning" not in "".join([each.text async for each in TextSlice.objects.all()])


async def test_thoughts_are_sliced_like_the_text(living):
    async with living() as life:
        thought = ["a long thought, ", "and a longer one, ", "and another one that never ends"]
        accepted = await orphan(life, *map(events.Thinking, thought), events.Delta("yes"))
        await life.writer.arun(lambda: Generation.request_stop(life.user, accepted.generation_id))
        await life.run(accepted.generation_id, from_owner="dead")
    done = await life.row(accepted)
    assert (done.status, done.message.text, done.message.thinking) == ("stopped", "yes", "".join(thought))
    assert (await stored(done.message_id))[0] == "yes"
    assert "".join((await stored(done.message_id, "thinking"))[1]) == "".join(thought)


async def test_a_process_that_died_among_the_slices_leaves_nothing_and_loses_nothing(living):
    text = "a text that is longer than forty characters, in one event"
    async with living() as life:
        accepted = await orphan(life, events.Delta(text))
        message_id = (await life.row(accepted)).message_id
        left = TextSlice(key=TextSlice.new_key(), position=0, message_id=message_id, text=text[:10])
        await in_thread(rows.insert)(left)
        assert (await life.row(accepted)).message.text == ""
        await life.writer.arun(lambda: Generation.request_stop(life.user, accepted.generation_id))
        await life.run(accepted.generation_id, from_owner="dead")
    done = await life.row(accepted)
    assert (done.status, done.message.text) == ("stopped", text)
    assert not await TextSlice.objects.filter(key=left.key).aexists()


async def test_a_run_that_lost_its_lease_among_the_slices_ends_nothing(living, monkeypatch):
    insert = rows.insert

    def lose_the_lease(row):
        if isinstance(row, TextSlice) and row.position == 2:
            Generation.objects.update(owner="another", epoch=9)
        return insert(row)

    monkeypatch.setattr(rows, "insert", lose_the_lease)
    async with living() as life:
        accepted = await life.ask("hello [[deltas=40]]")
        await life.run(accepted.generation_id)
    row = await life.row(accepted)
    assert (row.status, row.owner, row.message.text) == ("running", "another", "")
    # What it had stored before is deleted by the next owner.
    assert await TextSlice.objects.acount() == 3


async def test_an_end_with_a_missing_slice_is_refused_and_the_whole_text_is_kept(living, monkeypatch):
    insert = rows.insert

    def lose_the_second(row):
        return insert(row) if not isinstance(row, TextSlice) or row.position != 1 else None

    monkeypatch.setattr(rows, "insert", lose_the_second)
    async with living() as life:
        done = await life.answer("hello [[deltas=40]]")
        expected = life.provider.text_for("hello [[deltas=40]]")
    assert (done.status, done.error_code) == ("interrupted", "not_stored")
    assert done.message.text == expected
