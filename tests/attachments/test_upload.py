"""Storing uploads: killed at any moment, each row has its file and each file a row. The ZIP of a user."""

import io
import json
from datetime import timedelta
from functools import partial
from zipfile import ZipFile

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat.attachments import files, upload
from chat.attachments.extraction.types import Extracted, ExtractedImage
from chat.attachments.own_files import write_attachments
from chat.attachments.upload import store_upload
from chat.event_log.writer import InlineWriter
from chat.models import Attachment, Conversation, LooseFile, Project, ProjectFile, StoredContent
from chat.models.stored_content import LOOSE_KEPT, storage
from chat.review import own_data
from chat.transfer.export import ConversationFile
from chatsite.file_storage import attachments_storage
from tests.support.attachments import attach, stored_files

# A scanned document: itself, and two pages.
SCAN = Extracted(
    "text",
    "application/pdf",
    images=tuple(ExtractedImage(bytes([n]) * 50, "image/png", 5, 5) for n in (1, 2)),
)
STEPS = 4 * 2


class Killed(BaseException):
    """The process is gone."""


class DyingWriter(InlineWriter):
    """Dies at its n-th transaction: before it, or when it is committed."""

    def __init__(self, at):
        super().__init__()
        self._left, self._is_after = divmod(at, 2)

    def submit(self, operation, *, user_id=None):
        self._left -= 1
        if self._left < 0 and not self._is_after:
            raise Killed
        done = super().submit(operation, user_id=user_id)
        if self._left < 0:
            raise Killed
        return done


@pytest.fixture(params=["folder", "bucket"])
def _extracted(monkeypatch, settings, tmp_path, request):
    async def extract(path, name, declared_type):
        return SCAN

    monkeypatch.setattr(upload, "extract", extract)
    settings.DATA_DIR = tmp_path
    options = request.getfixturevalue("bucket").options if request.param == "bucket" else {}
    settings.STORAGES = settings.STORAGES | {"attachments": attachments_storage(options, tmp_path)}


def store(user, writer, data=b"a scan"):
    return store_upload(writer, user, io.BytesIO(data), name="scan.pdf", declared_type="")


def check(user):
    """Check that each row has its file and each file a row."""
    named = set(StoredContent.objects.values_list("path", flat=True))
    assert named <= stored_files()
    assert stored_files() - named <= set(LooseFile.objects.values_list("path", flat=True))
    for attachment in Attachment.objects.filter(user=user):
        assert attachment.content.read() == b"a scan"
        assert [page.content.read()[0] for page in attachment.pages.all()] == [1, 2]


@pytest.mark.usefixtures("_extracted")
@pytest.mark.parametrize("at", range(STEPS))
@pytest.mark.django_db(transaction=True)
async def test_killed_at_any_transaction_nothing_is_broken_or_left(user, at):
    with pytest.raises(Killed):
        await sync_to_async(store)(user, DyingWriter(at))
    await sync_to_async(check)(user)
    # The user tries again, and an hour later the cleanup runs.
    await sync_to_async(store)(user, InlineWriter())
    await LooseFile.objects.aupdate(since=timezone.now() - LOOSE_KEPT - timedelta(seconds=1))
    await files.delete_loose_files(InlineWriter())
    await sync_to_async(check)(user)
    assert await Attachment.objects.acount() == 1
    assert len(await sync_to_async(stored_files)()) == await StoredContent.objects.acount() == 3
    assert not list(files.incoming_folder().iterdir())
    await sync_to_async(user.delete)()
    await files.delete_loose_files(InlineWriter())
    assert not await sync_to_async(stored_files)()
    assert not await LooseFile.objects.aexists()


@pytest.mark.usefixtures("_extracted")
@pytest.mark.django_db(transaction=True)
async def test_files_that_cannot_be_deleted_now_are_deleted_later(user, monkeypatch):
    await sync_to_async(store)(user, InlineWriter())
    await sync_to_async(user.delete)()

    def fail(path):
        raise OSError("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(storage(), "delete", fail)
        await files.delete_loose_files(InlineWriter())
    assert await LooseFile.objects.acount() == 3
    assert len(await sync_to_async(stored_files)()) == 3
    await files.delete_loose_files(InlineWriter())
    assert not await LooseFile.objects.aexists()
    assert not await sync_to_async(stored_files)()


@pytest.mark.django_db
def test_the_zip_and_the_json_have_the_files(user, other_user, seeing_model):
    picture = attach(user, "../a cat.jpeg", data=b"meow")
    document = attach(user, "plan.txt", kind="text", text="the plan", data=b"the plan")
    attach(other_user, "theirs.png", data=b"not mine")
    ask = partial(Conversation.ask, user, "what?", client_id="c")
    started = ask(attachments=[picture.pk, document.pk])
    made = io.BytesIO()
    with ZipFile(made, "w") as archive:
        list(write_attachments(user, archive))
    with ZipFile(made) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"attachments/{picture.pk}-a-cat.png": b"meow",
            f"attachments/{document.pk}-plan.txt": b"the plan",
        }
    file = ConversationFile(Conversation.objects.get(pk=started.conversation_id))
    assert "*Files: ../a cat.jpeg, plan.txt*" in file.as_markdown()
    assert "../a cat.jpeg, plan.txt" in file.as_html()
    exported = json.loads(file.as_json())
    question, answer = exported["messages"]
    assert [each["name"] for each in question["attachments"]] == ["../a cat.jpeg", "plan.txt"]
    assert question["attachments"][1]["text"] == "the plan"
    assert "attachments" not in answer


@pytest.mark.django_db
def test_erasing_all_conversations_takes_drafts_and_files_of_projects_along(user, seeing_model):
    project = Project.objects.create(user=user, name="Garden")
    ProjectFile.add(project, attach(user, kind="text", text="plan", data=b"plan"))
    attach(user, "a draft", data=b"draft")
    own_data.erase(user, with_account=False)
    Attachment.delete_unused(10)
    assert not Attachment.objects.exists()
    assert not StoredContent.objects.exists()
