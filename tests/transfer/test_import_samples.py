"""Each sample of a foreign export gives what it should."""

import pytest

from chat.models import Conversation, Feedback, Generation, ImportedMessage, Message
from chat.search import find
from tests.transfer.conftest import SAMPLES, counts, shown

pytestmark = pytest.mark.django_db


def titled(title):
    return Conversation.objects.get(title=title, deleted_at=None)


def everything_stored():
    return "\n".join(f"{each.text}\n{each.thinking}" for each in Message.objects.all())


def test_chatgpt_in_one_file(bring):
    imported = bring(SAMPLES / "chatgpt-classic")
    assert (imported.status, counts(imported)) == ("done", (2, 0, 0, 0)), imported.problem
    eggs = titled("Boiling eggs")
    assert eggs.messages.count() == 6
    assert shown(eggs) == [
        "How do I boil an egg?",
        "Eight minutes, then cold water.",
        "And a very soft one?",
        "Four minutes.",
    ]
    assert [len(ids) for ids in Message.siblings(eggs.path(limit=9)).values()] == [1, 2, 2, 1]
    assert eggs.created_at.timestamp() == 1735689600.0
    assert eggs.updated_at.timestamp() == 1735689693.0
    assert eggs.path(limit=9)[0].created_at.timestamp() == pytest.approx(1735689601.123456)
    assert eggs.path(limit=9)[1].html == '<p dir="auto">Eight minutes, then cold water.</p>\n'
    assert eggs.path(limit=9)[1].imported.model_name == "gpt-4o"
    second = Conversation.objects.exclude(pk=eggs.pk).get()
    assert second.archived_at is not None
    assert second.title == "What colours are in this picture? Also plot them."
    assert shown(second)[1] == "Red and green. See ."
    assert second.path(limit=9)[0].imported.files == ["colours.png"]
    assert not Generation.objects.exists()
    assert find("boil egg").message_of.keys() == {eggs.pk}


def test_chatgpt_in_shards(bring, zipped):
    imported = bring(zipped(SAMPLES / "chatgpt-2026-shards"))
    assert counts(imported) == (3, 0, 0, 1), imported.problem
    assert imported.report.get(outcome="skipped").title == "Empty shell"
    sky = titled("Sky")
    assert shown(sky) == ["Why is the sky blue?", "Because air scatters short waves more."]
    assert sky.messages.count() == 3
    assert sky.leaf.imported.model_name == "gpt-5-thinking"
    assert titled("Picture").messages.get(parent=None).imported.files == ["picture.png"]
    assert len(shown(titled("Voice"))) == 2
    assert "Synthetic profile" not in everything_stored()
    assert "Rayleigh" not in everything_stored()


def test_hostile_chatgpt(bring, client_of, user):
    imported = bring(SAMPLES / "chatgpt-hostile" / "conversations.json")
    assert (imported.status, counts(imported)) == ("done", (5, 0, 1, 4)), imported.problem
    assert len(shown(titled("A cycle"))) == 2
    assert len(shown(titled("Deepest first"))) == 600
    assert shown(titled("<script>alert(1)</script>")) == ["orphan"]
    odd = shown(titled("Odd parts"))[0]
    assert odd.startswith("NUL  and ")
    assert "\x00" not in odd
    page = client_of(user).get("/sidebar/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert all(row.reason for row in imported.report.filter(outcome="skipped"))


def test_a_file_that_was_cut_off(bring):
    imported = bring(SAMPLES / "chatgpt-hostile" / "cut-off.json")
    assert counts(imported) == (1, 0, 0, 1)
    assert "ends in the middle of a conversation" in imported.report.get(outcome="skipped").reason


def test_a_byte_order_mark_and_a_list_in_an_object(bring):
    assert counts(bring(SAMPLES / "chatgpt-hostile" / "bom-and-object.json")) == (1, 0, 0, 0)


def test_claude_of_2025(bring):
    imported = bring(SAMPLES / "claude-2025")
    assert counts(imported) == (1, 0, 0, 1), imported.problem
    tea = titled("Tea")
    assert len(shown(tea)) == 4
    assert "two minutes?" in shown(tea)[0]
    assert tea.path(limit=9)[2].imported.files == ["photo.jpg"]


def test_claude_of_2026(bring, zipped):
    imported = bring(zipped(SAMPLES / "claude-2026"))
    assert counts(imported) == (1, 0, 0, 0), imported.problem
    sums = titled("Sums")
    assert shown(sums) == ["Add 2 and 3 with a tool.", "Five.", "Thanks"]
    assert sums.messages.count() == 4
    assert "The date is" not in everything_stored()
    first = sums.messages.get(thinking="Use the tool.")
    assert "*Tool: add*" in first.text
    assert imported.report.get().left_out["a_block_of_tomorrow"] == 1
    assert sums.leaf.imported.files == ["sums.pdf"]


def test_open_webui(bring):
    imported = bring(SAMPLES / "open-webui" / "chat-export.json")
    assert counts(imported) == (1, 0, 0, 0), imported.problem
    fruit = titled("Fruit")
    assert fruit.messages.count() == 5
    assert (fruit.system_prompt, fruit.temperature) == ("Be brief.", 0.3)
    assert fruit.pinned_at is not None
    first, second = fruit.messages.get(parent=None).children.order_by("pk")
    assert (first.imported.model_name, second.imported.model_name) == ("llama3.2:1b", "qwen3:8b")
    assert (second.text, second.thinking) == ("Plum and fig.", "fruit")
    assert Feedback.objects.get().message == second
    assert ImportedMessage.objects.exclude(problem="").get().problem == "model not found"
    assert "AAAA" not in everything_stored()


def test_librechat(bring):
    imported = bring(SAMPLES / "librechat" / "conversation.json")
    assert counts(imported) == (1, 0, 0, 0), imported.problem
    rain = titled("Rain")
    assert rain.messages.count() == 3
    assert rain.messages.get(text="I cannot know.").thinking == "weather"
    assert rain.messages.get(text="Perhaps.").imported.problem == "unfinished"
