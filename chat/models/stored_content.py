"""Contents of attachments: each is one file of the storage, however many rows name it.

A file is never there without a row. Before it is written, a LooseFile names it; the transaction that stores
the first row that needs it turns this into a StoredContent. When the last such row is deleted, the same
transaction turns it back, and cleanup deletes the file. So a crash at any point leaves neither a row without
its file nor a file that nothing will ever delete, and no storage has to be listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import IO

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# Longer than any upload takes from the writing of its file to its row.
LOOSE_KEPT = timedelta(hours=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
PIECE_BYTES = 256 * 1024


def storage() -> Storage:
    """Return where the files are: a folder outside the web root, or what the settings name."""
    return storages["attachments"]


@dataclass(frozen=True, slots=True)
class NewContent:
    """A file that is about to be stored. `path`: its name in the storage."""

    sha256: str
    size_bytes: int
    path: str

    @classmethod
    def of(cls, file: IO[bytes]) -> NewContent:
        """Read a file once and name it by what it contains.

        The end of the name is random: a file that was deleted and the next one with the same content must not
        be the same file, or whoever deletes the first one a moment late would delete the second one.
        """
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
        sha256 = digest.hexdigest()
        return cls(sha256, size, f"{sha256[:2]}/{sha256}-{token_hex(8)}")

    def write(self, file: IO[bytes]) -> None:
        """Write the file. Its LooseFile is committed already."""
        file.seek(0)
        saved = storage().save(self.path, File(file, name=self.path))
        if saved != self.path:
            raise FileExistsError(f"the storage has {self.path} already")


class LooseFile(models.Model):
    """A file of the storage that no content names: not yet, or not any more."""

    path = models.CharField(max_length=120, unique=True)
    since = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.path

    @classmethod
    def take_due(cls, limit: int) -> dict[int, str]:
        """Return files to delete, by the keys of their rows; no upload can adopt one of them any more."""
        due = cls.objects.filter(since__lt=timezone.now() - LOOSE_KEPT).order_by("since")
        found = dict(due.select_for_update().values_list("pk", "path")[:limit])
        cls.objects.filter(pk__in=list(found)).update(since=LONG_AGO)
        return found


class StoredContent(models.Model):
    """A file of the storage. Rows refer to it with PROTECT, and call `release` when they are gone."""

    sha256 = models.CharField("SHA-256", max_length=64, unique=True)
    path = models.CharField(max_length=120)
    size_bytes = models.PositiveBigIntegerField(_("size (bytes)"))
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.sha256

    @classmethod
    def adopt(cls, new: NewContent) -> StoredContent:
        """Return the row of a content whose file is written. In a transaction.

        If there is a row of the same content already, the new file is left to cleanup. Raises IntegrityError
        if another process stores the same content at this moment, and LookupError if cleanup has taken the
        file, because it was left alone for an hour.
        """
        known = cls.objects.select_for_update().filter(sha256=new.sha256).first()
        loose = LooseFile.objects.filter(path=new.path).exclude(since=LONG_AGO)
        if known is not None:
            loose.update(since=LONG_AGO)
            return known
        if not loose.delete()[0]:
            raise LookupError(new.path)
        return cls.objects.create(sha256=new.sha256, path=new.path, size_bytes=new.size_bytes)

    @classmethod
    def release(cls, ids: Iterable[int]) -> None:
        """Give up those of these contents that no row refers to. In a transaction."""
        for content in cls.objects.select_for_update().filter(pk__in=set(ids)).order_by("pk"):
            if content.attachments.exists() or content.pages.exists():
                continue
            LooseFile.objects.create(path=content.path, since=LONG_AGO)
            content.delete()

    def open(self) -> IO[bytes]:
        """Open the file. Raises FileNotFoundError."""
        return storage().open(self.path, "rb")

    def read(self) -> bytes:
        """Return the whole content. Raises FileNotFoundError."""
        with self.open() as file:
            return file.read()

    def pieces(self) -> Iterator[bytes]:
        """Yield the content. Raises FileNotFoundError."""
        with self.open() as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
