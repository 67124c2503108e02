"""One conversation as Markdown, HTML and JSON, and who can download it."""

import json
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from markdown_it import MarkdownIt

from chat.models import Attachment, Generation, Message
from chat.transfer.export import ConversationFile, safe_name, with_closed_fence
from tests.review.conftest import converse, finish
from tests.support.attachments import attach

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"

pytestmark = pytest.mark.django_db


def download(client, conversation, ending):
    return client.get(reverse("export", args=[conversation.pk, ending]))


@pytest.fixture
def forked(user, model):
    """A conversation with two answers to one question; the second is shown."""
    conversation = converse(user, model, "why <b>?", "the first", title="Heaps & <i>trees</i>")
    question = conversation.messages.get(parent=None)
    second = conversation.messages.create(
        role=Message.Role.ASSISTANT, parent=question, text="the *second*", html="<p>the <em>second</em></p>"
    )
    finish(second, user, model, status=Generation.Status.INTERRUPTED)
    conversation.leaf = second
    conversation.save()
    return conversation


def test_markdown_is_the_shown_branch_as_it_was_written(user, forked, model, client_of):
    response = download(client_of(user), forked, "md")
    assert response.content.decode() == (
        f"# Heaps & <i>trees</i>\n\n## You\n\nwhy <b>?\n\n## {model.name}\n\nthe *second*\n\n"
        "*This answer is not complete.*\n"
    )
    assert response["Content-Disposition"] == 'attachment; filename="Heaps-i-trees-i.md"'
    assert "no-store" in response["Cache-Control"]


def test_html_is_one_page_without_scripts_and_other_files(user, forked, client_of):
    page = download(client_of(user), forked, "html").content.decode()
    assert '<h1 dir="auto">Heaps &amp; &lt;i&gt;trees&lt;/i&gt;</h1>' in page
    assert "why &lt;b&gt;?" in page
    assert "the <em>second</em>" in page
    assert "the first" not in page
    assert "This answer is not complete." in page
    assert "default-src 'none'" in page
    assert ".prose" in page
    assert not re.search(r"<script|<link|<img|\bsrc=|url\(|@import|http://|https://", page)


def test_json_has_all_versions_and_the_runs(user, forked, client_of):
    value = json.loads(download(client_of(user), forked, "json").content)
    assert (value["format"], value["version"], value["id"]) == ("chatsite.conversation", 1, str(forked.pk))
    assert [each["text"] for each in value["messages"]] == ["why <b>?", "the first", "the *second*"]
    question, first, second = value["messages"]
    assert first["parent"] == second["parent"] == question["id"]
    assert value["shown_message"] == second["id"]
    assert [run["status"] for run in value["generations"]] == ["completed", "interrupted"]
    # Each name is documented, and each documented name is there.
    described = DOCS.read_text(encoding="utf-8").partition("## The JSON")[2]
    names = {*value, *question, *value["generations"][0]}
    assert {name for name in names if f"`{name}`" not in described} == set()


def test_a_running_answer_is_exported_as_far_as_it_is_stored(user, model):
    conversation = converse(user, model, "why?", "")
    run = Generation.objects.get(message__conversation=conversation)
    Generation.objects.filter(pk=run.pk).update(status="running", finished_at=None, prefix="so far")
    exported = ConversationFile(conversation)
    assert "so far\n\n*This answer was still being written when it was exported.*" in exported.as_markdown()
    assert "so far" in exported.as_html()
    assert json.loads(exported.as_json())["messages"][1]["text"] == "so far"


def test_only_the_owner_can_export(user, other_user, forked, client_of, client):
    superuser = User.objects.create_superuser("root", password="x")
    for ending in ("md", "html", "json"):
        assert download(client_of(other_user), forked, ending).status_code == 404
        assert download(client_of(superuser), forked, ending).status_code == 404
        assert download(client, forked, ending).status_code == 302
    choice = reverse("choose_export", args=[forked.pk])
    assert client_of(other_user).get(choice).status_code == 404
    owner = client_of(user)
    assert download(owner, forked, "exe").status_code == 404
    page = owner.get(choice).content.decode()
    assert all(reverse("export", args=[forked.pk, ending]) in page for ending in ("md", "html", "json"))
    assert choice in owner.get(reverse("options", args=[forked.pk])).content.decode()
    forked.delete_softly()
    assert download(owner, forked, "md").status_code == 404


@pytest.mark.parametrize(
    "text",
    [
        "```python\nx = 1",
        "~~~\n```\n",
        "a\n````\n```\nb",
        "```\na\n```",
        "no code",
        "``` a ` b\nc",
        "```\n``` x",
    ],
)
def test_a_code_block_that_was_left_open_does_not_take_in_the_next_heading(text):
    closed = with_closed_fence(text)
    assert closed.startswith(text)
    headings = [
        token for token in MarkdownIt().parse(f"{closed}\n\n## Next\n") if token.type == "heading_open"
    ]
    assert len(headings) == 1


@pytest.mark.parametrize(
    "title", ["../../etc/passwd", "a\x00b\r\nc", 'CON: "x"', "Übung \u202egpj.exe", "…", "x" * 999]
)
def test_a_title_becomes_a_safe_part_of_a_file_name(title):
    assert re.fullmatch(r"[\w-]{0,60}", safe_name(title))


def test_the_page_of_one_conversation_has_the_pictures_in_it(user, model):
    talk = converse(user, model, "draw", "drawn")
    picture = attach(user, "cat.png", data=b"pixels")
    Attachment.attach(talk.messages.last(), [picture])
    talk.messages.filter(pk=talk.messages.last().pk).update(attachment_tokens=1)
    page = ConversationFile(talk).as_html(with_pictures=True)
    assert '<img src="data:image/png;base64,cGl4ZWxz" alt="">' in page
    assert "cat.png" in page
    assert "<img" not in ConversationFile(talk).as_html()
