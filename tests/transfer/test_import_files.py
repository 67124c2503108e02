"""Files of messages come back with an import, whole or not at all, and go when it is undone."""

import hashlib
import io
import json
import zipfile
from functools import partial
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from PIL import Image

from chat.attachments.files import delete_loose_files
from chat.attachments.imported import keep_imported
from chat.attachments.upload import store_upload
from chat.event_log.writer import InlineWriter
from chat.models import (
    Attachment,
    Conversation,
    ConversationImport,
    Erasure,
    ImportedMessage,
    LooseFile,
    Message,
)
from chat.models.stored_content import LONG_AGO
from chat.runtime.cleanup import Cleanup
from chat.transfer.importing.run import run_import
from tests.attachments.extraction import samples
from tests.review.conftest import converse
from tests.support.attachments import stored_files

pytestmark = pytest.mark.django_db

KEEP = partial(keep_imported, InlineWriter())


@pytest.fixture(autouse=True)
def _own_storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "attachments": settings.STORAGES["attachments"] | {"OPTIONS": {"location": tmp_path / "attachments"}}
    }
    settings.DATA_DIR = tmp_path


def photo(size=(300, 200)):
    file = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(file, "JPEG", quality=95, comment=b"where I live")
    return file.getvalue()


def upload(user, data, name):
    return store_upload(InlineWriter(), user, io.BytesIO(data), name=name, declared_type="")


def attached(message, *attachments):
    Attachment.attach(message, attachments)
    Message.objects.filter(pk=message.pk).update(attachment_tokens=Attachment.tokens_of(attachments))


@pytest.fixture
def archive(user, model, tmp_path):
    """Return the ZIP of a user whose messages have files: pictures, a document, and one without content."""
    talk = converse(user, model, "see", "drawn", title="Files")
    question, answer = talk.messages.order_by("pk")
    picture, plan = upload(user, photo(), "photo.jpg"), upload(user, samples.pdf(), "plan.pdf")
    attached(question, picture, plan)
    gone = Attachment.objects.create(
        user=user,
        name="picture-2",
        kind="image",
        size_bytes=0,
        tokens=0,
        notes=["Not loaded."],
        text="https://x.example/",
    )
    attached(answer, upload(user, samples.picture(), "picture-1.png"), gone)
    call_command("export_conversations", str(tmp_path / "all.zip"), user="ada")
    return tmp_path / "all.zip"


def changed(archive, change):
    """Return a copy of a ZIP whose entries were changed by `change`."""
    source = zipfile.ZipFile(archive)
    entries = {name: source.read(name) for name in source.namelist()}
    entries = change(entries)
    path = archive.with_name("changed.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return path


def told(attachment):
    content = attachment.content
    return (
        *(attachment.name, attachment.kind, attachment.media_type, attachment.notes, attachment.text),
        *(
            attachment.page_count,
            attachment.size_bytes,
            attachment.width,
            attachment.height,
            attachment.tokens > 0,
        ),
        None if content is None else (content.sha256, content.read()),
    )


def files_of(user):
    messages = Message.objects.filter(conversation__user=user).order_by("pk")
    found = Attachment.by_message(messages, with_text=True)
    return [list(map(told, found.get(message.pk, ()))) for message in messages]


def test_files_come_back_as_they_were(user, other_user, archive, bring):
    imported = bring(archive, owner=other_user, keep_file=KEEP)
    assert (imported.imported, imported.problem) == (1, "")
    assert imported.report.get().left_out == {}
    before, after = files_of(user), files_of(other_user)
    assert [[each[0] for each in files] for files in after] == [
        ["photo.jpg", "plan.pdf"],
        ["picture-1.png", "picture-2"],
    ]
    assert after == before
    assert not Attachment.objects.filter(user=other_user).exclude(unused_since=None).exists()
    assert not ImportedMessage.objects.exclude(files=[]).exists()


def test_importing_again_adds_nothing(other_user, archive, bring):
    bring(archive, owner=other_user, keep_file=KEEP)
    before = Attachment.objects.count()
    again = bring(archive, owner=other_user, keep_file=KEEP)
    assert (again.imported, again.unchanged) == (0, 1)
    assert Attachment.objects.count() == before


def test_undo_removes_the_files(user, other_user, archive, bring):
    Conversation.objects.filter(user=user).delete()
    imported = bring(archive, owner=other_user, keep_file=KEEP)
    ConversationImport.objects.filter(pk=imported.pk).update(status="undoing", changed_at=LONG_AGO)
    assert async_to_sync(run_import)(InlineWriter(), imported.pk)
    while Erasure.objects.exists():
        async_to_sync(Cleanup().run)(InlineWriter())
    Attachment.delete_unused(100)
    LooseFile.objects.update(since=LONG_AGO)
    async_to_sync(delete_loose_files)(InlineWriter())
    assert not Attachment.objects.exists()
    assert stored_files() == set()


def without_photo(entries):
    return {name: data for name, data in entries.items() if "photo" not in name}


def other_photo(entries):
    return {name: photo((10, 10)) if "photo" in name else data for name, data in entries.items()}


def trick(entries):
    renamed = {}
    for name, data in entries.items():
        renamed[name.replace("attachments/", "attachments/../../") if "photo" in name else name] = data
    return renamed


def script(entries):
    page = b"<html><script>alert(1)</script></html>"
    photo_name = next(name for name in entries if "photo" in name)
    place = next(name for name in entries if name.endswith(".json") and name.startswith("conversations/"))
    value = json.loads(entries[place])
    for file in value["messages"][0]["attachments"]:
        if file["name"] == "photo.jpg":
            file["sha256"] = hashlib.sha256(page).hexdigest()
    return entries | {photo_name: page, place: json.dumps(value).encode()}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without_photo, "not in the archive"),
        (trick, "not in the archive"),
        (other_photo, "not the file that was exported"),
    ],
)
def test_a_file_that_is_missing_or_another_one_is_named_and_counted(other_user, archive, bring, change, why):
    imported = bring(changed(archive, change), owner=other_user, keep_file=KEEP)
    assert imported.report.get().left_out == {f"file: {why}": 1}
    question, answer = files_of(other_user)
    assert [each[0] for each in question] == ["plan.pdf"]
    assert len(answer) == 2
    assert ImportedMessage.objects.exclude(files=[]).get().files == ["photo.jpg"]
    assert not list(Path(archive.parent / "incoming").glob("*"))


def test_a_file_is_what_it_contains_not_what_the_archive_says(other_user, archive, bring):
    bring(changed(archive, script), owner=other_user, keep_file=KEEP)
    kinds = {each[0]: (each[1], each[2]) for each in files_of(other_user)[0]}
    assert kinds["photo.jpg"] == ("text", "text/html")


@pytest.mark.parametrize(
    ("limit", "why"), [("ATTACHMENT_QUOTA_BYTES", "over the quota"), ("ATTACHMENT_MAX_BYTES", "too large")]
)
def test_limits_of_files_leave_the_words(other_user, archive, bring, settings, limit, why):
    setattr(settings, limit, 100)
    imported = bring(archive, owner=other_user, keep_file=KEEP)
    assert imported.report.get().left_out == {f"file: {why}": 3}
    assert [each[0] for each in files_of(other_user)[1]] == ["picture-2"]
    assert Message.objects.filter(conversation__user=other_user).count() == 2


def test_a_json_alone_names_the_files(other_user, archive, bring):
    source = zipfile.ZipFile(archive)
    place = next(
        name for name in source.namelist() if name.startswith("conversations/") and name.endswith(".json")
    )
    imported = bring(source.read(place), owner=other_user, keep_file=KEEP)
    assert imported.report.get().left_out == {"file: not in the archive": 3}
