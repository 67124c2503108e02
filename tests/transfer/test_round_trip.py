"""Exported, imported elsewhere and exported again, everything is the same but for ids."""

import io
import json
import re
import zipfile
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from chat.attachments.own_files import write_attachments
from chat.models import Conversation, Feedback, Generation, Message, Project
from chat.rendering import render
from chat.review import own_data
from tests.attachments.extraction import samples
from tests.review.conftest import converse, finish
from tests.transfer.conftest import SAMPLES, counts
from tests.transfer.test_import_files import KEEP, attached, photo, upload

pytestmark = pytest.mark.django_db


@pytest.fixture
def full(user, model, bring):
    """Fill a user's site with everything that an export can hold."""
    project = Project.objects.create(user=user, name="Garden  and more")
    now = timezone.now()
    settings = {"system_prompt": "Be  brief.", "temperature": 0.7, "project": project}
    talk = converse(user, model, "why <b>?", "first", "then?", "*last*", title="Two  words", **settings)
    question = talk.messages.get(parent=None)
    second = talk.messages.create(
        role=Message.Role.ASSISTANT,
        parent=question,
        text="second 🌱",
        thinking="hm",
        html="<p>second</p>",
        tool_calls=[{"id": "1", "name": "add", "arguments": "{}"}],
    )
    run = finish(second, user, model, status=Generation.Status.INTERRUPTED)
    Generation.objects.filter(message=second).update(cost_usd="0.001234", input_tokens=12)
    Conversation.objects.filter(pk=talk.pk).update(
        leaf=second, pinned_at=now, archived_at=now, created_at=now - timedelta(days=3)
    )
    Feedback.objects.create(message=second, user=user, value=-1, reasons=["unhelpful"], comment="no\nno")
    first = upload(user, samples.pdf(), "plan.pdf")
    attached(question, first, upload(user, photo(), "photo.jpg"))
    attached(second, upload(user, samples.picture(), "picture-1.png"))
    converse(user, model, "of a program", "its answer", is_hidden=True)
    Conversation.objects.create(user=user, title="not shown", model=model)
    bring(SAMPLES / "chatgpt-classic")
    bring(SAMPLES / "open-webui" / "chat-export.json")
    for answer in Message.objects.filter(role=Message.Role.ASSISTANT):
        Message.objects.filter(pk=answer.pk).update(html=render(answer.text) if answer.text else "")
    return run


def exported(user) -> dict[str, bytes]:
    """Return the files of the ZIP without the account, and the ids in them replaced by their places."""
    archive = zipfile.ZipFile(io.BytesIO(b"".join(own_data.zip_of(user, write_attachments))))
    files = {name: archive.read(name) for name in archive.namelist() if name != "account.json"}
    files = {
        re.sub(r"^attachments/[0-9a-f-]{36}", "attachments/", name): data for name, data in files.items()
    }
    for name, data in files.items():
        if name.endswith(".json"):
            files[name] = json.dumps(without_ids(json.loads(data)), indent=1).encode()
    return files


def without_ids(value):
    places = {message["id"]: place for place, message in enumerate(value["messages"])} | {None: None}
    value |= {"id": "", "shown_message": places[value["shown_message"]]}
    for message in value["messages"]:
        message |= {"id": places[message["id"]], "parent": places[message["parent"]]}
        for place, file in enumerate(message.get("attachments", ())):
            file["id"] = place
    for run in value["generations"]:
        run["message_id"] = places[run["message_id"]]
    return value


def test_everything_comes_back(user, other_user, full, bring, tmp_path):
    call_command("export_conversations", str(tmp_path / "all.zip"), user="ada")
    imported = bring(tmp_path / "all.zip", owner=other_user, keep_file=KEEP)
    # A conversation without messages is none.
    assert counts(imported) == (5, 0, 0, 1), imported.problem
    before = {name: data for name, data in exported(user).items() if "not-shown" not in name}
    after = exported(other_user)
    assert sorted(name.partition("-")[2] for name in before) == sorted(n.partition("-")[2] for n in after)
    renamed = {name.partition("-")[2]: data for name, data in after.items()}
    for name, data in before.items():
        assert renamed[name.partition("-")[2]] == data, name
    # What was made here is known here.
    assert counts(bring(tmp_path / "all.zip")) == (0, 0, 5, 1)
    assert not Generation.objects.filter(user=other_user).exists()
