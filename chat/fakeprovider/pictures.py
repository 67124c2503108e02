"""Pictures in answers, in the shapes in which servers send them, and some that harm a careless reader."""

from __future__ import annotations

import json
import random
import struct
import zlib
from base64 import b64encode

from chat.fakeprovider import sample_text

SIDE = 96
# Where no picture is.
ADDRESS = "https://pictures.invalid/{number}.png"
_BOMB_SIDE = 50_000
_STRIPE = 12


def png(seed: int, side: int = SIDE) -> bytes:
    """Return a picture with stripes of two colours; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - the same picture every time
    colours = [bytes(rng.randrange(256) for _n in range(3)) for _colour in range(2)]
    rows = b"".join(b"\0" + colours[(row // _STRIPE) % 2] * side for row in range(side))
    return _file(side, zlib.compress(rows))


def png_for(text: str, number: int) -> bytes:
    """Return a picture of the answer with this text."""
    return png(sample_text.seed_of(text) + number)


def _file(side: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def parts_of(shape: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Return the parts of an answer with so many pictures: the key of each delta, and its JSON."""
    return [part for number in range(count) for part in _parts(shape, number, seed + number)]


def _parts(shape: str, number: int, seed: int) -> list[tuple[str, str]]:
    data = b64encode(png(seed)).decode()
    url = {"url": f"data:image/png;base64,{data}"}
    preview = {"type": "image_generation_call.partial_image", "partial_image_b64": "AAAA"}
    call = {"type": "image_generation_call", "id": f"ig_{number}", "status": "completed", "result": data}
    content = {
        "parts": [{"type": "image_url", "image_url": url}],
        "output": [{"type": "output_image", "image_url": url["url"]}],
        "call": [preview, call],
        "source": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}],
        "inline": [{"inline_data": {"mime_type": "image/png", "data": data}}],
    }
    if shape in content:
        return [("image_parts", json.dumps(content[shape]))]
    if shape == "address":
        url = {"url": ADDRESS.format(number=number)}
    elif harmful := _harmful(shape, data):
        url = {"url": harmful}
    entry = {"type": "image_url", "image_url": url, "index": number}
    return [("images", json.dumps([entry]))] * (2 if shape == "twice" else 1)


def _harmful(shape: str, data: str) -> str:
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    bomb = _file(_BOMB_SIDE, zlib.compress(b"\0" * 1000))
    return {
        "broken": f"data:image/png;base64,{data[: len(data) // 2]}",
        "bomb": f"data:image/png;base64,{b64encode(bomb).decode()}",
        "svg": f"data:image/svg+xml;base64,{b64encode(script).decode()}",
        "garbage": "data:image/png;base64,!no base64!",
    }.get(shape, "")
