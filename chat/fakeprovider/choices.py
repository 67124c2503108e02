"""Requests with `n` above 1 or `logprobs`: further choices, and log probabilities made from the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from chat.fakeprovider.chat_request import ChatRequest

N_MAX = 128
# A part of an answer: the key of a delta, and its text or the JSON of its calls.
type Part = tuple[str, str]


def count_in(request: ChatRequest) -> int:
    """Return how many choices a request asks for."""
    count = request.body.get("n")
    return min(count, N_MAX) if isinstance(count, int) and count > 1 else 1


def are_special(request: ChatRequest) -> bool:
    """Whether choices of a request have to be encoded here."""
    return count_in(request) > 1 or bool(request.body.get("logprobs"))


def piece_of(index: int, part: Part, request: ChatRequest) -> dict[str, Any]:
    """Return a piece of a choice as it stands in an event."""
    key, piece = part
    value = json.loads(piece) if key in ("tool_calls", "images", "image_parts") else piece
    name = {"reasoning": "reasoning_content", "image_parts": "content"}.get(key, key)
    logprobs = _logprobs([piece], request) if key == "content" else None
    return {"index": index, "delta": {name: value}, "logprobs": logprobs, "finish_reason": None}


def interleaved(lists: list[list[Part]]) -> Iterator[list[tuple[int, Part]]]:
    """Yield the parts of all choices at each place, with the number of their choice."""
    for place in range(max(map(len, lists))):
        yield [(index, parts[place]) for index, parts in enumerate(lists) if place < len(parts)]


def whole(
    index: int, message: dict[str, Any], parts: list[Part], finish: str | None, request: ChatRequest
) -> Any:
    """Return a choice as it stands in a JSON document."""
    pieces = [piece for key, piece in parts if key == "content"]
    logprobs = _logprobs(pieces, request)
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}


def _logprobs(pieces: list[str], request: ChatRequest) -> dict[str, Any] | None:
    if not request.body.get("logprobs"):
        return None
    top = request.body.get("top_logprobs") or 0
    content = []
    for piece in pieces:
        token: dict[str, Any] = {
            "token": piece,
            "logprob": -len(piece) / 16,
            "bytes": list(piece.encode(errors="replace")),
        }
        others = [token | {"logprob": token["logprob"] - rank} for rank in range(top)]
        content.append(token | {"top_logprobs": others})
    return {"content": content, "refusal": None}
