"""Imports again, growing, undone, ended by a kill; archives that mean harm; reading in pieces."""

import asyncio
import io
import json
import random
import zipfile
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.event_log.writer import InlineWriter
from chat.models import Conversation, ConversationImport, Feedback, Message, RetentionPolicy
from chat.transfer.formats.json_items import JsonItems, JsonProblem
from chat.transfer.importing import run
from chat.transfer.importing.child import read_export
from chat.transfer.importing.frames import decode_frame
from chat.transfer.importing.run import BUSY_PAUSES, run_import, tidy
from chat.transfer.importing.store import ImportStore
from tests.transfer.conftest import SAMPLES, counts, shown

pytestmark = pytest.mark.django_db
LISTED = {"deleted_at": None}


def claude(title="Tea", *texts, start=0, conversation="c-1"):
    """Return a conversation in Claude's format, whose messages alternate."""
    messages = [
        {"uuid": f"m{number}", "sender": ("human", "assistant")[number % 2], "text": text}
        for number, text in enumerate(texts, start)
    ]
    return {
        "uuid": conversation,
        "name": title,
        "chat_messages": messages,
        "updated_at": "2026-01-01T00:00:00Z",
    }


def test_again_adds_nothing_and_a_newer_file_adds_what_is_new(bring):
    assert counts(bring([claude("Tea", "a", "b")])) == (1, 0, 0, 0)
    assert counts(bring([claude("Tea", "a", "b")])) == (0, 0, 1, 0)
    grown = bring([claude("Tea", "a", "b", "c", "d")])
    assert counts(grown) == (0, 1, 0, 0)
    assert grown.report.get().messages_added == 2
    assert shown(Conversation.objects.get()) == ["a", "b", "c", "d"]


def test_people_do_not_share_what_they_imported(bring, other_user):
    bring([claude("Tea", "a", "b")])
    assert counts(bring([claude("Tea", "a", "b")], owner=other_user)) == (1, 0, 0, 0)
    assert Conversation.objects.filter(user=other_user).count() == 1


def test_undo_takes_everything_back_and_keeps_what_was_written_since(bring, model):
    first = bring([claude("Tea", "a", "b"), claude("Rain", "x", "y", conversation="c-2")])
    grown = bring([claude("Tea", "a", "b", "c", "d")])
    assert undo(grown).status == "undone"
    tea = Conversation.objects.get(title="Tea")
    assert shown(tea) == ["a", "b"]
    tea.messages.create(role=Message.Role.USER, parent=tea.leaf, text="my own words")
    undone = undo(first)
    assert (undone.status, undone.kept) == ("undone", 1)
    assert list(Conversation.objects.filter(**LISTED)) == [tea]
    # It can be imported again.
    assert counts(bring([claude("Rain", "x", "y", conversation="c-2")])) == (1, 0, 0, 0)


def undo(imported):
    ConversationImport.objects.filter(pk=imported.pk).update(status="undoing", changed_at="2020-01-01T00:00Z")
    async_to_sync(run_import)(InlineWriter(), imported.pk)
    imported.refresh_from_db()
    return imported


def test_a_killed_import_goes_on_where_it_was(bring, tmp_path):
    values = [claude(f"t{n}", "a", "b", conversation=f"c{n}") for n in range(4)]
    half = bring(values[:2])
    ConversationImport.objects.filter(pk=half.pk).update(
        status="running", changed_at="2020-01-01T00:00Z", finished_at=None
    )
    (tmp_path / "export.json").write_text(json.dumps(values))
    assert async_to_sync(run_import)(InlineWriter(), half.pk, tmp_path / "export.json")
    half.refresh_from_db()
    assert (half.status, counts(half), half.position) == ("done", (4, 0, 0, 0), 4)
    assert half.report.count() == Conversation.objects.count() == 4
    # A living process has it: nobody else runs it.
    ConversationImport.objects.filter(pk=half.pk).update(status="running", finished_at=None)
    assert not async_to_sync(run_import)(InlineWriter(), half.pk)
    assert half.pk not in async_to_sync(tidy)(InlineWriter())


@pytest.mark.parametrize(("is_busy", "pauses"), [(False, 1), (True, BUSY_PAUSES)])
def test_an_import_pauses_longer_while_answers_run(bring, monkeypatch, is_busy, pauses):
    took, paused = [], []
    committed, sleep = ImportStore.committed, asyncio.sleep

    def note(self, done):
        took.append(done.took_s)
        committed(self, done)

    async def note_pause(seconds):
        paused.append(seconds)
        await sleep(0)

    monkeypatch.setattr(ImportStore, "committed", note)
    monkeypatch.setattr(asyncio, "sleep", note_pause)
    bring([claude(f"t{n}", "a", "b", conversation=f"c{n}") for n in range(20)], is_busy=lambda: is_busy)
    assert took
    assert [each for each in paused if each] == [each * pauses for each in took]


def test_the_imports_of_a_user_run_one_after_the_other(user, other_user):
    waiting = ConversationImport.Status.WAITING
    first, second, theirs = (
        ConversationImport.objects.create(user=each, file_name="x", status=waiting)
        for each in (user, user, other_user)
    )
    assert ConversationImport.claim(first.pk)
    # It would not see what the first one has stored of a conversation and not finished.
    assert ConversationImport.claim(second.pk) is None
    assert ConversationImport.claim(theirs.pk)
    ConversationImport.objects.filter(pk=first.pk).update(status="done", finished_at=timezone.now())
    assert ConversationImport.claim(second.pk)
    # Its process has ended: it says nothing any more.
    ConversationImport.objects.filter(pk=second.pk).update(changed_at=timezone.now() - timedelta(minutes=1))
    ConversationImport.objects.filter(pk=first.pk).update(status=waiting, finished_at=None)
    assert ConversationImport.claim(first.pk)
    with pytest.raises(CommandError, match="Another import of"):
        call_command("import_conversations", str(SAMPLES), "--user", user.username)


def test_an_import_goes_on_slowly_between_the_answers_of_a_conversation(bring, monkeypatch):
    took, paused, answers = [], [], iter([True])
    committed, sleep = ImportStore.committed, asyncio.sleep

    def note(self, done):
        took.append(done.took_s)
        committed(self, done)

    async def note_pause(seconds):
        paused.append(seconds)
        await sleep(0)

    monkeypatch.setattr(ImportStore, "committed", note)
    monkeypatch.setattr(asyncio, "sleep", note_pause)
    monkeypatch.setattr(run, "BUSY_AFTER_S", 3600)
    conversations = [claude(f"t{n}", "a", "b", conversation=f"c{n}") for n in range(20)]
    bring(conversations, is_busy=lambda: next(answers, False))
    assert len(took) > 1
    assert [each for each in paused if each] == [each * BUSY_PAUSES for each in took]
    took.clear()
    paused.clear()
    monkeypatch.setattr(run, "BUSY_AFTER_S", -1)
    answers = iter([True])
    bring(conversations, is_busy=lambda: next(answers, False))
    assert [each for each in paused if each] == took


def test_a_long_conversation_is_invisible_until_it_is_whole(bring, monkeypatch):
    seen = []
    original = Message.document
    monkeypatch.setattr(
        Message,
        "document",
        lambda self: (seen.append(Conversation.objects.filter(**LISTED).count()), original(self))[1],
    )
    bring([claude("Long", *(f"text {n}" for n in range(120)))])
    assert set(seen) == {0}
    assert len(shown(Conversation.objects.get(**LISTED))) == 120


def test_what_the_site_would_erase_at_once_is_not_imported(bring):
    RetentionPolicy.objects.create(group=None, kind="chat", days=30)
    imported = bring([claude("Tea", "a", "b")])
    assert counts(imported) == (0, 0, 0, 1)
    assert "older than this site keeps" in imported.report.get().reason


def test_one_can_go_on_after_a_question_without_an_answer(bring, user, model):
    bring([claude("Tea", "a question without an answer")])
    conversation = Conversation.objects.get()
    Conversation.ask(user, "and this?", client_id="c" * 16, conversation_id=conversation.pk)
    conversation.refresh_from_db()
    assert shown(conversation) == ["a question without an answer", "and this?", ""]


def test_archives_that_mean_harm_end_with_a_report(bring, zipped, tmp_path):
    good = json.dumps([claude("Tea", "a", "b")]).encode()
    path = zipped(
        {"../../conversations.json": good, "/etc/passwd": b"x", "a/../b.json": b"[}", "user.json": b"{"}
    )
    imported = bring(path)
    assert (imported.status, imported.imported) == ("done", 1)
    bomb = zipped({"conversations.json": b"[" + b" " * 30_000_000}, name="bomb.zip")
    assert bring(bomb).skipped == 1
    data = bytearray(zipped({"conversations.json": good * 50}, name="damaged.zip").read_bytes())
    data[60:90] = bytes(30)
    assert bring(bytes(data), name="damaged.zip").problem == "The archive is damaged."
    for value in (b"", b"not json", b"\xff\xfe", b"[[[[" * 5_000, b'[{"mapping": {}}', b"[1e999, 5, null]"):
        (tmp_path / "bad.json").write_bytes(value)
        out = io.BytesIO()
        read_export(tmp_path / "bad.json", out, skip=0)
        frames = [decode_frame(each) for each in framed(out.getvalue())]
        assert any(getattr(frame, "problem", "") or getattr(frame, "reason", "") for frame in frames)
    assert Conversation.objects.count() == 1


def framed(data):
    while data:
        size = int.from_bytes(data[:4], "big")
        yield data[4 : 4 + size]
        data = data[4 + size :]


def test_a_million_empty_conversations_are_counted(tmp_path):
    (tmp_path / "empty.json").write_bytes(b"[" + b'{"mapping":{}},' * 20_000 + b"{}]")
    out = io.BytesIO()
    read_export(tmp_path / "empty.json", out, skip=0)
    # A thousand reports, then counts.
    assert len(out.getvalue()) < 200_000


def test_wrong_types_cost_only_their_own_conversation(bring):
    whole = json.loads((SAMPLES / "open-webui" / "chat-export.json").read_text())[0]
    rng = random.Random(15)
    broken = [spoilt(whole, rng) for _ in range(60)]
    imported = bring([*broken, claude("Tea", "a", "b")])
    assert (imported.status, sum(counts(imported))) == ("done", 61)
    assert Conversation.objects.filter(title="Tea", **LISTED).exists()


def spoilt(value, rng):
    """Return a copy of a JSON value in which some values have another type."""
    if rng.random() < 0.03:
        return rng.choice([None, 7, -1.5, "text", [], {}, True, [None], {"type": 3}, "\ud800", 10**400])
    if isinstance(value, dict):
        return {key: spoilt(each, rng) for key, each in value.items()}
    if isinstance(value, list):
        return [spoilt(each, rng) for each in value]
    return value


def test_our_own_format_with_ids_of_others(bring, other_user, model):
    theirs = Conversation.objects.create(user=other_user, title="theirs")
    value = {
        "format": "chatsite.conversation",
        "version": 1,
        "id": str(theirs.pk),
        "title": "mine",
        "shown_message": 2,
        "messages": [
            {"id": 1, "parent": None, "role": "user", "text": "q"},
            {
                "id": 2,
                "parent": 1,
                "role": "assistant",
                "text": "<script>alert(1)</script>",
                "tool_calls": ["wrong"],
                "choices": {"wrong": 1},
                "feedback": {"value": -1, "reasons": ["unhelpful", 3], "comment": "no"},
            },
        ],
        "generations": [{"message_id": 2, "model_name": "m", "status": "completed", "cost_usd": "1000000"}],
    }
    bring(value)
    mine = Conversation.objects.get(title="mine")
    assert (mine.user.username, mine.pk != theirs.pk, shown(mine)[0]) == ("ada", True, "q")
    assert "<script" not in mine.leaf.html
    assert (mine.leaf.tool_calls, mine.leaf.choices) == (None, None)
    assert Feedback.objects.get().reasons == ["unhelpful"]
    assert mine.leaf.imported.model_name == "m"


class Dripping(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def read(self, size=-1):
        return super().read(min(size, 7))


def test_values_are_the_same_whatever_the_pieces():
    values = [{"a": 'b"}]\\', "c": [1.5, 10**30, None]}, "ü𝒳\\", 12345, [], {}, "x" * 100, -0.5, True]
    for text in (json.dumps(values), json.dumps({"conversations": values}, ensure_ascii=False)):
        for stream in (io.BytesIO, Dripping):
            assert list(JsonItems(stream(text.encode()))) == values


def test_what_cannot_be_read_is_a_problem_in_its_place():
    deep = b"[" * 100_000 + b"]" * 100_000
    found = list(JsonItems(io.BytesIO(b'[1, {"a": tru, "b": "]}"}, 2, ' + deep + b", 3]")))
    assert [each for each in found if not isinstance(each, JsonProblem)] == [1, 2, 3]
    assert sum(isinstance(each, JsonProblem) for each in found) == 2
    large = list(JsonItems(io.BytesIO(b'["' + b"x" * 2_000_000 + b'", 4]'), max_chars=600_000))
    assert isinstance(large[0], JsonProblem)
    assert large[1:] == [4]


def test_an_encrypted_archive_says_so(bring, tmp_path):
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", "[]")
    data = bytearray(path.read_bytes())
    data[6] |= 1
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in bring(path).problem
