"""Imports, run to their end in the test's own transaction."""

import json
import zipfile
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync

from chat.event_log.writer import InlineWriter
from chat.models import ConversationImport
from chat.transfer.importing.run import run_import

SAMPLES = Path(__file__).parent / "imports"


@pytest.fixture
def bring(user, tmp_path):
    """Return a function that imports a file, a folder or a value, and returns the import.

    Its further options are those of `run_import`.
    """

    def run(what, *, owner=None, name="export.json", **options) -> ConversationImport:
        path = what
        if not isinstance(what, Path):
            path = tmp_path / name
            path.write_bytes(what if isinstance(what, bytes) else json.dumps(what).encode())
        imported = ConversationImport.objects.create(
            user=owner or user, file_name=path.name, status=ConversationImport.Status.WAITING
        )
        assert async_to_sync(run_import)(InlineWriter(), imported.pk, path, **options)
        imported.refresh_from_db()
        return imported

    return run


@pytest.fixture
def zipped(tmp_path):
    """Return a function that makes a ZIP of entries (name → bytes) or of a folder."""

    def make(entries, name="export.zip") -> Path:
        if isinstance(entries, Path):
            entries = {
                str(path.relative_to(entries)): path.read_bytes()
                for path in entries.rglob("*")
                if path.is_file()
            }
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)
        return path

    return make


def counts(imported) -> tuple[int, int, int, int]:
    return imported.imported, imported.updated, imported.unchanged, imported.skipped


def shown(conversation) -> list[str]:
    return [message.text for message in conversation.path(limit=1_000)]
