"""LibreChat's export: one conversation, its messages nested by `children` or flat with parents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

SOURCE = "librechat"


def is_librechat(value: Mapping[str, Any]) -> bool:
    return "conversationId" in value and "messages" in value


def parse_librechat(value: Mapping[str, Any], _names: Mapping[str, str]) -> ParsedConversation:
    """Read one conversation."""
    counter = Counter()
    model = line_of(dict_of(value.get("options")).get("model"))
    nodes = []
    for each, parent in _flat(list_of(value.get("messages"))):
        node_id = id_of(each.get("messageId"))
        if node_id is None:
            counter.add("malformed message")
            continue
        message = _libre_message(node_id, each, model, counter)
        nodes.append(ParsedNode(node_id, parent, seconds_of(each.get("createdAt")), message))
    messages, shown = arranged(nodes, None)
    return ParsedConversation(
        source=SOURCE,
        id=id_of(value.get("conversationId")) or "",
        title=line_of(value.get("title")),
        messages=messages,
        shown=shown,
        model=model,
        left_out=counter.counts,
    )


def _flat(messages: list[Any]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield each message with the id of its parent, parents first."""
    waiting = [(each, None) for each in reversed(messages)]
    while waiting:
        each, above = waiting.pop()
        if not isinstance(each, dict):
            continue
        own = id_of(each.get("messageId"))
        yield each, id_of(each.get("parentMessageId")) or above
        waiting += [(child, own) for child in reversed(list_of(each.get("children")))]  # type: ignore[misc]


def _libre_message(node_id: str, value: dict[str, Any], model: str, counter: Counter) -> ParsedMessage | None:
    texts = [text_of_value(value.get("text"))]
    thoughts: list[str] = []
    for part in list_of(value.get("content")):
        block = dict_of(part)
        match block.get("type"):
            case "text":
                inner = block.get("text")
                texts.append(text_of_value(dict_of(inner).get("value")) or text_of_value(inner))
            case "think":
                thoughts.append(text_of_value(block.get("think")))
            case kind:
                counter.add(kind)
    text = "\n\n".join(each for each in texts if each)
    files = [name for each in list_of(value.get("files")) if (name := line_of(dict_of(each).get("filename")))]
    problem = "unfinished" if value.get("unfinished") is True else ""
    if value.get("error") is True:
        problem = "error"
    if not (text.strip() or files or thoughts or problem):
        return None
    is_user = value.get("isCreatedByUser") is True
    return ParsedMessage(
        id=node_id,
        parent=None,
        role="user" if is_user else "assistant",
        text=text,
        thinking="\n\n".join(each for each in thoughts if each),
        model="" if is_user else line_of(value.get("model")) or model,
        created=seconds_of(value.get("createdAt")),
        files=files,
        problem=problem,
    )
