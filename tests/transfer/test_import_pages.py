"""The import pages: uploads in parts, reports, and whose they are. The command."""

import json

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.urls import reverse

from chat.event_log.writer import InlineWriter
from chat.models import Conversation, ConversationImport
from chat.runtime.http_limits import IMPORT_PART_MAX_BYTES, body_max_bytes
from chat.transfer.importing.run import run_import, upload_path
from tests.transfer.conftest import SAMPLES

pytestmark = pytest.mark.django_db
DATA = (SAMPLES / "claude-2025" / "conversations.json").read_bytes()


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path


def begin(client, size, name="C:\\secret\\conv\u202eersations.json"):
    response = client.post(reverse("imports"), {"name": name, "size": size})
    return response.json()["part"] if response.status_code == 200 else response


def send(client, part, data, offset):
    return client.post(f"{part}?offset={offset}", data, content_type="application/octet-stream")


def test_an_upload_in_parts_becomes_an_import_with_a_report(user, client_of):
    client = client_of(user)
    part = begin(client, len(DATA))
    assert send(client, part, DATA[:1000], 0).json() == {"received": 1000}
    # A part that was lost on its way back is not stored twice.
    assert send(client, part, DATA[:1000], 0).status_code == 409
    assert send(client, part, DATA[1000:], 1000).json() == {"received": len(DATA)}
    imported = ConversationImport.objects.get()
    assert imported.status == "waiting"
    assert upload_path(imported.pk).read_bytes() == DATA
    assert async_to_sync(run_import)(InlineWriter(), imported.pk)
    assert not upload_path(imported.pk).exists()
    page = client.get(reverse("import", args=[imported.pk])).content.decode()
    assert "1 imported, 0 updated, 0 known already, 1 skipped" in page
    assert "It has no messages." in page
    conversation = Conversation.objects.get()
    assert reverse("conversation", args=[conversation.pk]) in page
    chat = client.get(reverse("conversation", args=[conversation.pk])).content.decode()
    assert "photo.jpg" in chat
    assert "imported" in chat
    assert client.post(reverse("import_undo", args=[imported.pk])).status_code == 302
    imported.refresh_from_db()
    assert imported.status == "undoing"
    assert client.get(reverse("imports")).status_code == 200


def test_others_find_nothing(user, other_user, staff, client_of):
    part = begin(client_of(user), 10)
    pk = ConversationImport.objects.get().pk
    for client in (client_of(other_user), client_of(staff)):
        assert send(client, part, b"x", 0).status_code == 404
        assert client.get(reverse("import", args=[pk])).status_code == 404
        for name in ("import_undo", "import_remove"):
            assert client.post(reverse(name, args=[pk])).status_code == 404
        assert str(pk) not in client.get(reverse("imports")).content.decode()


def test_uploads_are_limited(user, client_of):
    client = client_of(user)
    for size in ("", "0", "-1", "x", 5 * 1024**4):
        assert begin(client, size).status_code == 422
    part = begin(client, 3)
    assert send(client, part, b"four", 0).status_code == 422
    for _ in range(9):
        begin(client, 3)
    assert begin(client, 3).status_code == 422
    assert body_max_bytes(part) == IMPORT_PART_MAX_BYTES
    assert body_max_bytes("/import/../part/") < IMPORT_PART_MAX_BYTES


def test_the_command_imports_and_says_what_was_skipped(user, capsys, tmp_path):
    call_command("import_conversations", str(SAMPLES / "claude-2025"), user="ada")
    out = capsys.readouterr().out
    assert "It has no messages." in out
    assert "1 imported, 0 updated, 0 known already, 1 skipped; 4 messages." in out
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(CommandError, match="No conversations were found"):
        call_command("import_conversations", str(tmp_path / "x.json"), user="ada")
    with pytest.raises(CommandError, match="no user"):
        call_command("import_conversations", str(tmp_path), user="nobody")
