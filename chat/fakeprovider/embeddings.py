"""Embeddings of the fake provider: vectors that depend on the text alone, so that tests can compare them."""

import base64
import hashlib
import struct
from typing import Any

DIMENSIONS = 16


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return a unit-free vector for a text: the same for the same text."""
    found: list[float] = []
    for block in range(dimensions // 8 + 1):
        digest = hashlib.sha256(f"{block}:{text}".encode(errors="replace")).digest()
        found += [value / 2**31 - 1 for value in struct.unpack(">8I", digest)]
    return [round(value, 6) for value in found[:dimensions]]


def document(body: Any) -> tuple[int, object]:
    """Return status and document for the body of a request."""
    given = body.get("input") if isinstance(body, dict) else None
    if not isinstance(given, str | list) or not given or not isinstance(body.get("model"), str):
        return 400, {"error": {"message": "'input' and 'model' are required", "param": "input", "code": None}}
    texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    dimensions = body.get("dimensions") or DIMENSIONS
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(body, vector_of(str(text), dimensions))}
        for index, text in enumerate(texts)
    ]
    tokens = sum(len(str(text).split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return 200, {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _encoded(body: dict[str, Any], vector: list[float]) -> object:
    if body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector
