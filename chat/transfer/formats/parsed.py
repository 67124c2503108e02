"""What every format is read into: conversations as trees of messages, parents first."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

from chat.text import clean

# Longer texts are cut, and the report says so.
TEXT_MAX_CHARS = 1_000_000
TITLE_MAX_CHARS = 200
ID_MAX_CHARS = 100
NAME_MAX_CHARS = 200
# Times outside of this range are taken for mistakes: 2000-01-01 to 2100-01-01, in seconds since 1970.
TIME_RANGE_S = (946_684_800.0, 4_102_444_800.0)


class NotImportable(Exception):
    """A conversation cannot be imported. The text says why, for the report."""


class ParsedFile(msgspec.Struct):
    """A file of a message in our own format, as its export tells it. `sha256` None: it had no content."""

    id: str
    name: str
    kind: Literal["image", "text"]
    sha256: str | None
    size_bytes: int = 0
    notes: list[str] = []
    text: str = ""
    pages: int | None = None


class ParsedMessage(msgspec.Struct):
    """One message. `created`: seconds since 1970; None: not known. `files`: names of what it refers to."""

    id: str
    parent: str | None
    role: Literal["user", "assistant"]
    text: str
    thinking: str = ""
    model: str = ""
    created: float | None = None
    files: list[str] = []
    # 1 or -1; None: not rated.
    rating: int | None = None
    # Why an answer is not complete; empty: it is.
    problem: str = ""
    html: str = ""
    # What only our own format has: columns of the message, runs, feedback, files.
    own: dict[str, Any] | None = None
    attachments: list[ParsedFile] = []
    # The ids of those that are stored here, once they are.
    kept: list[str] = []


class ParsedConversation(msgspec.Struct):
    """One conversation. `shown`: the id of the last message of the branch that is shown."""

    source: str
    id: str
    title: str
    messages: list[ParsedMessage]
    shown: str | None
    created: float | None = None
    updated: float | None = None
    model: str = ""
    system_prompt: str = ""
    temperature: float | None = None
    pinned: float | None = None
    archived: float | None = None
    project: str = ""
    is_hidden: bool = False
    # What was left out, by kind: how often.
    left_out: dict[str, int] = {}


class ParsedNode(msgspec.Struct):
    """A node of a foreign tree. `message` None: not for showing; its children hang on what is above."""

    id: str
    parent: str | None
    created: float | None
    message: ParsedMessage | None


def arranged(nodes: Iterable[ParsedNode], shown: str | None) -> tuple[list[ParsedMessage], str | None]:
    """Return the shown messages, parents first and older before newer, and the id of the shown leaf.

    A dangling parent counts as none; a cycle is cut at its first node. One pass, without recursion.
    """
    by_id: dict[str, ParsedNode] = {}
    for node in nodes:
        by_id.setdefault(node.id, node)
    anchors = _anchors(by_id)
    kept = [node for node in by_id.values() if node.message is not None]
    children: dict[str | None, list[tuple[int, ParsedNode]]] = {}
    for index, node in enumerate(kept):
        assert node.message is not None
        parent = by_id[node.id].parent
        node.message.parent = anchors.get(parent) if parent is not None else None
        children.setdefault(node.message.parent, []).append((index, node))
    ordered: list[ParsedMessage] = []
    heap: list[tuple[float, int, ParsedNode]] = []

    def push(parent: str | None, not_before: float) -> None:
        for index, node in children.get(parent, ()):
            when = node.created if node.created is not None else not_before
            heapq.heappush(heap, (max(when, not_before), index, node))

    push(None, 0.0)
    while heap:
        when, _index, node = heapq.heappop(heap)
        assert node.message is not None
        ordered.append(node.message)
        push(node.id, when)
    leaf = anchors.get(shown) if shown is not None else None
    return ordered, leaf or (ordered[-1].id if ordered else None)


def _anchors(by_id: dict[str, ParsedNode]) -> dict[str, str | None]:
    """Map each node to its nearest shown ancestor, itself included; None: there is none."""
    anchors: dict[str, str | None] = {}
    for start in by_id:
        path: list[str] = []
        on_path: set[str] = set()
        at: str | None = start
        while at is not None and at not in anchors:
            node = by_id[at]
            if node.parent not in by_id:
                node.parent = None
            path.append(at)
            on_path.add(at)
            if node.parent in on_path:
                by_id[str(node.parent)].parent = None
                break
            at = node.parent
        for name in reversed(path):
            node = by_id[name]
            above = anchors.get(node.parent) if node.parent is not None else None
            anchors[name] = name if node.message is not None else above
    return anchors


def seconds_of(value: Any) -> float | None:
    """Return a time as seconds since 1970: from seconds, milliseconds or ISO 8601; None: not a time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip()).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if number > TIME_RANGE_S[1]:
        number /= 1000
    is_time = math.isfinite(number) and TIME_RANGE_S[0] <= number <= TIME_RANGE_S[1]
    return number if is_time else None


def line_of(value: Any, max_chars: int = TITLE_MAX_CHARS) -> str:
    """Return a value as one cleaned line; empty if it is not text."""
    if not isinstance(value, str):
        return ""
    return " ".join(clean(value[: 4 * max_chars]).split())[:max_chars]


def id_of(value: Any) -> str | None:
    """Return an id, or None if the value cannot be one."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return str(value)
    return line_of(value, ID_MAX_CHARS) or None


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text_of_value(value: Any) -> str:
    return value if isinstance(value, str) else ""


class Counter:
    """Counts what is left out of a conversation, by kind."""

    KINDS_MAX = 50

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, kind: Any) -> None:
        name = line_of(kind, 60) or "unknown"
        if name not in self.counts and len(self.counts) >= self.KINDS_MAX:
            name = "others"
        self.counts[name] = self.counts.get(name, 0) + 1


def finished(conversation: ParsedConversation) -> ParsedConversation:
    """Clean and bound every text of a conversation. Raises NotImportable if nothing of it can be shown."""
    if not conversation.messages:
        raise NotImportable("It has no messages.")
    for message in conversation.messages:
        for name in ("text", "thinking"):
            text = clean(getattr(message, name))
            if len(text) > TEXT_MAX_CHARS:
                text = text[:TEXT_MAX_CHARS]
                conversation.left_out["cut text"] = conversation.left_out.get("cut text", 0) + 1
            setattr(message, name, text)
        message.model = line_of(message.model, NAME_MAX_CHARS)
        message.problem = line_of(message.problem, 500)
        message.files = [name for each in message.files[:100] if (name := line_of(each, NAME_MAX_CHARS))]
    if conversation.temperature is not None and not 0 <= conversation.temperature <= 2:
        conversation.temperature = None
    conversation.system_prompt = clean(conversation.system_prompt)
    conversation.model = line_of(conversation.model, NAME_MAX_CHARS)
    return conversation
