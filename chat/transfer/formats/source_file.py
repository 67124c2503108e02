"""The files of an export: a JSON file, a folder or a ZIP archive. Names in an archive are never paths."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

ENTRIES_MAX = 200_000
# Read from one archive, after inflating.
INFLATED_MAX_BYTES = 16 * 1024**3
NAMES_MAX_BYTES = 16 * 1024**2
# Not conversations, in the exports that we know.
OTHER_FILES = {
    *("user.json", "users.json", "projects.json", "message_feedback.json", "shared_conversations.json"),
    *("library_files.json", "conversation_asset_file_names.json", "export_manifest.json", "account.json"),
    *("user_settings.json", "memories.json", "shopping.json", "group_chats.json", "sora.json"),
    "batch.json",
}
# Files of messages, in the ZIP of another Chatsite. Their names are never used as paths.
_ATTACHMENT = re.compile(r"attachments/(?P<id>[0-9a-f-]{36})-[^/\\]*")
ASSET_NAMES = "conversation_asset_file_names.json"


class UnreadableFile(Exception):
    """The whole file cannot be read. The text says why, for the report."""


class _Bounded(io.RawIOBase):
    """A stream that counts what is read of it, against a limit for the whole archive."""

    def __init__(self, stream: BinaryIO, source: SourceFiles) -> None:
        self._bounded, self._source = stream, source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._bounded.read(size)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as exc:
            raise UnreadableFile("The archive is damaged.") from exc
        except Exception as exc:  # zlib, lzma and bz2 have errors of their own
            raise UnreadableFile("The archive is damaged.") from exc
        self._source.read_bytes += len(data)
        if self._source.read_bytes > INFLATED_MAX_BYTES:
            raise UnreadableFile("The archive becomes too large when it is unpacked.")
        return data


class SourceFiles:
    """The files of an export that may hold conversations, and the names of its other files."""

    def __init__(self, path: Path) -> None:
        self.read_bytes = 0
        self._path = path
        self._archive: zipfile.ZipFile | None = None
        self._attachments: dict[str, zipfile.ZipInfo] | None = None
        if path.is_dir() or not zipfile.is_zipfile(path):
            return
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as exc:
            raise UnreadableFile("This ZIP file is damaged.") from exc
        if len(self._archive.infolist()) > ENTRIES_MAX:
            raise UnreadableFile(f"The archive has more than {ENTRIES_MAX:,} files.")

    def __iter__(self) -> Iterator[tuple[str, BinaryIO]]:
        """Yield name and content of each file that may hold conversations, by name."""
        if self._archive is not None:
            for info in sorted(self._archive.infolist(), key=lambda info: info.filename):
                if _may_hold_conversations(info.filename) and not info.is_dir():
                    yield info.filename, self._open(info)
        elif self._path.is_dir():
            for path in sorted(self._path.rglob("*.json")):
                if _may_hold_conversations(path.name) and path.is_file():
                    with path.open("rb") as file:
                        yield path.name, cast(BinaryIO, _Bounded(file, self))
        else:
            with self._path.open("rb") as file:
                yield self._path.name, cast(BinaryIO, _Bounded(file, self))

    def total_bytes(self) -> int:
        """Return how many bytes the files have together, as they claim."""
        if self._archive is not None:
            found = (info for info in self._archive.infolist() if _is_read(info.filename))
            return sum(info.file_size for info in found)
        if self._path.is_dir():
            return sum(path.stat().st_size for path in self._path.rglob("*.json"))
        return self._path.stat().st_size

    def attachment(self, file_id: str) -> BinaryIO | None:
        """Open a file of messages in the ZIP of another Chatsite, by its id there; None: there is none."""
        if self._attachments is None:
            infos = self._archive.infolist() if self._archive is not None else []
            found = ((match, info) for info in infos if (match := _ATTACHMENT.fullmatch(info.filename)))
            self._attachments = {match["id"]: info for match, info in found}
        info = self._attachments.get(file_id)
        return None if info is None else self._open(info)

    @property
    def is_exhausted(self) -> bool:
        """Whether more was read than may be."""
        return self.read_bytes > INFLATED_MAX_BYTES

    def asset_names(self) -> Mapping[str, str]:
        """Return the names that people gave to files, by the stored names, with and without their endings."""
        names: dict[str, str] = {}
        for stored, given in self._named().items():
            if isinstance(given, str):
                names[stored] = names[stored.rpartition(".")[0] or stored] = given
        return names

    def _named(self) -> dict[str, Any]:
        try:
            if self._archive is not None:
                infos = {info.filename.rpartition("/")[2]: info for info in self._archive.infolist()}
                if ASSET_NAMES not in infos:
                    return {}
                with closing(self._open(infos[ASSET_NAMES])) as file:
                    value = json.loads(file.read(NAMES_MAX_BYTES))
            elif self._path.is_dir() and (self._path / ASSET_NAMES).is_file():
                with (self._path / ASSET_NAMES).open("rb") as file:
                    value = json.loads(file.read(NAMES_MAX_BYTES))
            else:
                return {}
        except (ValueError, OSError, RecursionError, UnreadableFile):
            return {}
        return value if isinstance(value, dict) else {}

    def _open(self, info: zipfile.ZipInfo) -> BinaryIO:
        assert self._archive is not None
        try:
            return cast(BinaryIO, _Bounded(cast(BinaryIO, self._archive.open(info)), self))
        except RuntimeError as exc:
            raise UnreadableFile("The archive is encrypted. Unpack it, and import what is in it.") from exc
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as exc:
            raise UnreadableFile("The archive is damaged.") from exc


def _is_read(name: str) -> bool:
    return _may_hold_conversations(name) or _ATTACHMENT.fullmatch(name) is not None


def _may_hold_conversations(name: str) -> bool:
    base = name.replace("\\", "/").rpartition("/")[2].lower()
    # Files of messages, in the ZIP of another Chatsite.
    is_other = (
        name.startswith("attachments/")
        or base in OTHER_FILES
        or base.startswith(".")
        or "__macosx" in name.lower()
    )
    return base.endswith(".json") and not is_other
