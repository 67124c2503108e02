"""Claude's export: messages with blocks; newer files name the parent of each message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chat.transfer.formats.parsed import (
    Counter,
    ParsedConversation,
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

SOURCE = "claude"
ROOT = "00000000-0000-4000-8000-000000000000"


def is_claude(value: Mapping[str, Any]) -> bool:
    return "chat_messages" in value


def parse_claude(value: Mapping[str, Any], _names: Mapping[str, str]) -> ParsedConversation:
    """Read one conversation."""
    counter = Counter()
    nodes: list[ParsedNode] = []
    previous: str | None = None
    for number, each in enumerate(list_of(value.get("chat_messages"))):
        if not isinstance(each, dict):
            counter.add("malformed message")
            continue
        node_id = id_of(each.get("uuid")) or f"#{number}"
        # Without parents, the messages follow each other.
        parent = id_of(each["parent_message_uuid"]) if "parent_message_uuid" in each else previous
        message = _claude_message(node_id, each, counter)
        nodes.append(
            ParsedNode(
                node_id, None if parent == ROOT else parent, seconds_of(each.get("created_at")), message
            )
        )
        previous = node_id
    messages, shown = arranged(nodes, previous)
    return ParsedConversation(
        source=SOURCE,
        id=id_of(value.get("uuid")) or "",
        title=line_of(value.get("name")),
        messages=messages,
        shown=shown,
        created=seconds_of(value.get("created_at")),
        updated=seconds_of(value.get("updated_at")),
        model=line_of(value.get("model")),
        left_out=counter.counts,
    )


def _claude_message(node_id: str, value: dict[str, Any], counter: Counter) -> ParsedMessage | None:
    texts: list[str] = []
    thoughts: list[str] = []
    files: list[str] = []
    for block in list_of(value.get("content")):
        _read_block(dict_of(block), texts, thoughts, files, counter)
    if not texts and text_of_value(value.get("text")):
        texts.append(value["text"])
    for each in list_of(value.get("attachments")):
        attachment = dict_of(each)
        name, text = line_of(attachment.get("file_name")), text_of_value(attachment.get("extracted_content"))
        if text:
            texts.append(f"{name or 'Attachment'}:\n\n````\n{text}\n````")
        elif name:
            files.append(name)
    files += [
        name for each in list_of(value.get("files")) if (name := line_of(dict_of(each).get("file_name")))
    ]
    text = "\n\n".join(texts)
    if not text.strip() and not files and not thoughts:
        return None
    is_user = value.get("sender") == "human"
    return ParsedMessage(
        id=node_id,
        parent=None,
        role="user" if is_user else "assistant",
        text=text,
        thinking="\n\n".join(thoughts),
        created=seconds_of(value.get("created_at")),
        files=files,
        problem="" if is_user or value.get("stop_reason") != "max_tokens" else "length",
    )


def _read_block(
    block: dict[str, Any], texts: list[str], thoughts: list[str], files: list[str], counter: Counter
) -> None:
    match block.get("type"):
        case "text":
            if text := text_of_value(block.get("text")):
                texts.append(text)
        case "thinking":
            if text := text_of_value(block.get("thinking")):
                thoughts.append(text)
        case "tool_use" if block.get("name") == "artifacts":
            document = dict_of(block.get("input"))
            if text := text_of_value(document.get("content")):
                texts.append(f"{line_of(document.get('title'))}\n\n````\n{text}\n````".strip())
        case "tool_use":
            texts.append(f"*Tool: {line_of(block.get('name'), 60) or 'unknown'}*")
        case "document":
            files.append(line_of(block.get("title")) or "document")
        case kind:
            # The words of an injected prompt are not the person's; results of tools were not shown.
            counter.add(kind)
