"""What extraction takes and gives, for both processes; without Django."""

from __future__ import annotations

from typing import Literal

import msgspec


class ExtractionRefused(Exception):
    """A file that is not taken. `code` is for programs, `message` says to people why and what helps.

    Codes: `empty`, `too_large`, `unsupported`, `encrypted`, `damaged`, `unsafe`, `too_slow`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Limits(msgspec.Struct, frozen=True):
    """What one file may cost. All sizes are of one file; docs/attach.md names them."""

    file_max_bytes: int = 50 * 1024 * 1024
    # Of real time: much more than of processor time, for machines that are busy.
    seconds: float = 60.0
    cpu_seconds: int = 15
    # Of address space, the interpreter included. A picture of 50 megapixels needs half of it.
    memory_bytes: int = 768 * 1024 * 1024
    # About 100,000 tokens of English.
    text_max_chars: int = 400_000
    # A phone's largest picture.
    pixels_max: int = 50_000_000
    # The longer side of a picture afterwards; models scale larger ones down.
    image_side_max: int = 2048
    # The longer side of a page that is given as a picture.
    page_side_max: int = 1536
    pages_max: int = 2_000
    page_images_max: int = 20
    # What is unpacked of a ZIP-based file, and how many entries it may have.
    unpacked_max_bytes: int = 256 * 1024 * 1024
    entries_max: int = 10_000
    # What the child may send.
    output_max_bytes: int = 32 * 1024 * 1024


DEFAULT = Limits()


class ExtractedImage(msgspec.Struct, frozen=True):
    """A picture that was encoded again: without metadata, upright, of a bounded size."""

    data: bytes
    media_type: Literal["image/jpeg", "image/png"]
    width: int
    height: int


class Extracted(msgspec.Struct, frozen=True, tag=True):
    """What a model can read of a file.

    `images`: of an image exactly one; of a PDF its pages that have no text. `media_type`: what the content
    is, whatever the name says. `notes`: what was cut, left out or looks odd, for people. `pages`: how many
    pages, slides or sheets there are, if the format has them.
    """

    kind: Literal["image", "text"]
    media_type: str
    text: str = ""
    notes: tuple[str, ...] = ()
    images: tuple[ExtractedImage, ...] = ()
    pages: int | None = None
    is_truncated: bool = False


class RefusedFile(msgspec.Struct, frozen=True, tag=True):
    """An ExtractionRefused on its way from the child."""

    code: str
    message: str


class ExtractionRequest(msgspec.Struct, frozen=True):
    """The child's order. `path` is absolute; `name` and `declared_type` are the uploader's words."""

    path: str
    name: str
    declared_type: str
    limits: Limits
    # Whether a picture stays as it is if it is just as it would be encoded here: one that was stored before.
    keeps_stored: bool = False


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(ExtractionRequest).decode
decode_result = msgspec.msgpack.Decoder(Extracted | RefusedFile).decode
