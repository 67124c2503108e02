"""Reading of pictures in answers, whatever form a server sends them in.

OpenRouter and LiteLLM send a list `images` beside the text. Other servers send parts of the content, as in
the Responses API, the images API, or those of Anthropic and Google. Nothing is loaded from an address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chat.text import clean

# Of one answer. What comes after them is left out.
IMAGES_MAX = 10
ADDRESS_MAX_CHARS = 2_000
# Parts of a content that are pictures.
_KINDS = ("image_url", "image", "output_image", "image_generation_call")
_ITEMS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """A picture of an answer as it arrived: in base64, or its address on the web; else it was not understood.

    `is_surplus`: it is the first one above IMAGES_MAX, without content.
    """

    data: str = ""
    address: str = ""
    is_surplus: bool = False


class ImageReader:
    """Reads the pictures of one answer, each once: some servers repeat them in the last piece."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def feed(self, value: Any) -> list[ReceivedImage]:
        """Return the new pictures in an `images` field."""
        new: list[ReceivedImage] = []
        for image in map(_image_of, _entries(value)):
            digest = hashlib.sha256((image.data or image.address).encode(errors="replace")).digest()
            if digest in self._known or len(self._known) > IMAGES_MAX:
                continue
            self._known.add(digest)
            new.append(image if len(self._known) <= IMAGES_MAX else ReceivedImage(is_surplus=True))
        return new


def images_in_parts(parts: Iterator[Any]) -> list[Any]:
    """Return those parts of a content that are pictures. Previews of unfinished ones are not."""
    return [part for part in parts if isinstance(part, dict) and _is_image(part)]


def _is_image(part: dict[str, Any]) -> bool:
    return part.get("type") in _KINDS or isinstance(part.get("inline_data", part.get("inlineData")), dict)


def _entries(value: Any) -> list[Any]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries[:_ITEMS_MAX] if entry]


def _image_of(entry: Any) -> ReceivedImage:
    found = next(_sources(entry), "")
    if not isinstance(found, str):
        return ReceivedImage()
    head, comma, data = found.partition(",") if found[:5].lower() == "data:" else ("", "", found)
    if head:
        return ReceivedImage(data=data if comma and head.lower().endswith(";base64") else "")
    if "://" in found[:20]:
        return ReceivedImage(address=" ".join(clean(found[:ADDRESS_MAX_CHARS]).split()))
    return ReceivedImage(data=found)


def _sources(entry: Any) -> Iterator[Any]:
    """Yield what may be the picture: a data URL, base64 or an address."""
    if isinstance(entry, str):
        yield entry
    if not isinstance(entry, dict):
        return
    for name in (
        "result",
        "b64_json",
        "data",
        "image_url",
        "url",
        "source",
        "inline_data",
        "inlineData",
        "image",
    ):
        value = entry.get(name)
        if isinstance(value, dict):
            yield from _sources(value)
        elif value:
            yield value
