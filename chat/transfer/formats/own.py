"""Our own format, as docs/export.md describes it. Its ids are only names here, and no keys of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chat.events import WholeChoice, WholeToolCall
from chat.text import clean, clean_json
from chat.transfer.formats.parsed import (
    NAME_MAX_CHARS,
    TITLE_MAX_CHARS,
    Counter,
    NotImportable,
    ParsedConversation,
    ParsedFile,
    ParsedMessage,
    ParsedNode,
    arranged,
    dict_of,
    id_of,
    line_of,
    list_of,
    seconds_of,
    text_of_value,
)

SOURCE = "chatsite"
FORMAT = "chatsite.conversation"
# Of what we write; it grows when a reader has to know of a change. The newest version that is read.
VERSION = 1
# Of one message, and of one file; an honest export never has more.
FILES_MAX = 50
NOTES_MAX = 20
NOTE_MAX_CHARS = 2_000
FILE_TEXT_MAX_CHARS = 500_000
PAGES_MAX = 1_000_000


def is_own(value: Mapping[str, Any]) -> bool:
    return value.get("format") == FORMAT


def parse_own(value: Mapping[str, Any], _names: Mapping[str, str]) -> ParsedConversation:
    """Read one conversation."""
    if not isinstance(value.get("version"), int) or value["version"] > VERSION:
        raise NotImportable("It was exported by a newer version of Chatsite.")
    counter = Counter()
    runs: dict[str, list[Any]] = {}
    for run in list_of(value.get("generations")):
        runs.setdefault(id_of(dict_of(run).get("message_id")) or "", []).append(clean_json(run))
    nodes: list[ParsedNode] = []
    for each in list_of(value.get("messages")):
        message = _own_message(dict_of(each), runs)
        if message is None:
            counter.add("malformed message")
            continue
        # In the order of the file: a message is as new as its place.
        nodes.append(ParsedNode(message.id, message.parent, float(len(nodes)), message))
    messages, shown = arranged(nodes, id_of(value.get("shown_message")))
    temperature = value.get("temperature")
    return ParsedConversation(
        source=SOURCE,
        id=id_of(value.get("id")) or "",
        title=clean(text_of_value(value.get("title")))[:TITLE_MAX_CHARS],
        messages=messages,
        shown=shown if value.get("shown_message") is not None else None,
        created=seconds_of(value.get("created")),
        updated=seconds_of(value.get("last_message")),
        model=line_of(value.get("model")),
        system_prompt=text_of_value(value.get("system_prompt")),
        temperature=float(temperature) if isinstance(temperature, int | float) else None,
        pinned=seconds_of(value.get("pinned")),
        archived=seconds_of(value.get("archived")),
        project=clean(text_of_value(value.get("project")))[:80],
        is_hidden=value.get("is_request_of_a_program") is True,
        left_out=counter.counts,
    )


def _checked(value: Any, kind: type[msgspec.Struct]) -> list[Any] | None:
    """Return a list of values of this kind, cleaned; None if it is anything else."""
    try:
        found = msgspec.convert(clean_json(value), list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return None
    calls: list[Any] = msgspec.to_builtins(found)
    return calls or None


def _feedback(value: Any) -> dict[str, Any] | None:
    given = dict_of(clean_json(value))
    return given | {"created_s": seconds_of(given.get("created"))} if given else None


def _files(value: Any) -> list[ParsedFile]:
    """Return the files of a message; one of another shape is only a name."""
    found: dict[str, ParsedFile] = {}
    for each in map(dict_of, list_of(value)[:FILES_MAX]):
        kind, sha256, size = each.get("kind"), each.get("sha256"), each.get("size_bytes")
        file_id, pages = line_of(each.get("id"), 40), each.get("pages")
        if kind not in ("image", "text") or not file_id:
            continue
        notes = (line_of(note, NOTE_MAX_CHARS) for note in list_of(each.get("notes"))[:NOTES_MAX])
        found[file_id] = ParsedFile(
            id=file_id,
            name=line_of(each.get("name"), NAME_MAX_CHARS) or "file",
            kind=kind,
            sha256=sha256 if sha256 is None or isinstance(sha256, str) else "",
            size_bytes=size if isinstance(size, int) else 0,
            notes=[note for note in notes if note],
            text=clean(text_of_value(each.get("text")))[:FILE_TEXT_MAX_CHARS],
            pages=pages if isinstance(pages, int) and 0 <= pages <= PAGES_MAX else None,
        )
    return list(found.values())


def _own_message(value: dict[str, Any], runs: Mapping[str, list[Any]]) -> ParsedMessage | None:
    message_id, role = id_of(value.get("id")), value.get("role")
    if message_id is None or role not in {"user", "assistant"}:
        return None
    own_runs = runs.get(message_id, [])
    imported = dict_of(value.get("imported"))
    last_run = dict_of(own_runs[-1]) if own_runs else {}
    own = {
        "runs": own_runs,
        "tool_calls": _checked(value.get("tool_calls"), WholeToolCall),
        "choices": _checked(value.get("choices"), WholeChoice),
        "is_refusal": value.get("is_refusal") is True,
        "feedback": _feedback(value.get("feedback")),
    }
    return ParsedMessage(
        id=message_id,
        parent=id_of(value.get("parent")),
        role=role,
        text=text_of_value(value.get("text")),
        thinking=text_of_value(value.get("thinking")),
        model=line_of(last_run.get("model_name")) or line_of(imported.get("model")),
        created=seconds_of(value.get("created")),
        files=[each for each in list_of(imported.get("files")) if isinstance(each, str)],
        problem=line_of(imported.get("problem"), 500),
        own=own,
        attachments=_files(value.get("attachments")),
    )
