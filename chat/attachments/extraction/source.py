"""The file that the child reads, with what is known and said about it."""

from __future__ import annotations

import time
from pathlib import Path, PurePath
from typing import Self

from chat.attachments.extraction.types import Extracted, ExtractedImage, ExtractionRequest

# Enough for every signature, and to tell text from other bytes.
HEAD_BYTES = 4096
# Nobody reads more of them, and a hostile file could give thousands.
NOTES_MAX = 12


class SourceFile:
    """An open file. `head`: its beginning; `extension`: of its name, in lower case, without the dot."""

    def __init__(self, request: ExtractionRequest) -> None:
        self.limits = request.limits
        self.extension = PurePath(request.name.strip()).suffix[1:].lower()
        self.declared_type = request.declared_type.partition(";")[0].strip().lower()
        self.path = request.path
        self.keeps_stored = request.keeps_stored
        self.file = Path(request.path).open("rb")  # noqa: SIM115
        self.head = self.file.read(HEAD_BYTES)
        self.file.seek(0)
        self._notes: dict[str, None] = {}
        self._deadline = time.monotonic() + request.limits.seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.file.close()

    def note(self, text: str) -> None:
        """Tell people something about the file, once."""
        if len(self._notes) < NOTES_MAX:
            self._notes[text] = None

    @property
    def time_left(self) -> float:
        """The part of the time limit that is left, from 1 to 0 and below."""
        return (self._deadline - time.monotonic()) / self.limits.seconds

    def text_result(
        self,
        media_type: str,
        text: str,
        *,
        pages: int | None = None,
        images: tuple[ExtractedImage, ...] = (),
        is_truncated: bool = False,
    ) -> Extracted:
        """Return a text, cut to the limit. A cut is noted, and if there is nothing."""
        most = self.limits.text_max_chars
        if len(text) > most:
            text, is_truncated = text[:most], True
            self.note(f"Only the first {most:,} characters are used.")
        if not text.strip() and not images:
            self.note("No text was found in it.")
        return Extracted("text", media_type, text, self.notes, images, pages, is_truncated)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)
