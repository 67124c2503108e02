"""Open WebUI's export: a tree of messages by id; models answer side by side as siblings."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from chat.transfer.formats.parsed import (
    Counter,
    NotImportable,
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

SOURCE = "open_webui"
_DETAILS = re.compile(
    r'<details type="(reasoning|tool_calls|code_interpreter)"[^>]{0,20000}>(.*?)</details>\n?', re.DOTALL
)
_SUMMARY = re.compile(r"<summary>[^<]{0,500}</summary>")
_QUOTE_MARK = re.compile(r"^> ?", re.MULTILINE)


def is_open_webui(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("chat"), dict) and "chat_messages" not in value


def parse_open_webui(value: Mapping[str, Any], _names: Mapping[str, str]) -> ParsedConversation:
    """Read one conversation."""
    chat = value["chat"]
    history = dict_of(chat.get("history"))
    if not isinstance(history.get("messages"), dict):
        raise NotImportable("It has no messages.")
    counter = Counter()
    nodes = []
    for key, each in history["messages"].items():
        node_id = id_of(key)
        if node_id is None or not isinstance(each, dict):
            counter.add("malformed message")
            continue
        message = _webui_message(node_id, each, counter)
        nodes.append(
            ParsedNode(node_id, id_of(each.get("parentId")), seconds_of(each.get("timestamp")), message)
        )
    messages, shown = arranged(nodes, id_of(history.get("currentId")))
    params, updated = dict_of(chat.get("params")), seconds_of(value.get("updated_at"))
    temperature = params.get("temperature")
    return ParsedConversation(
        source=SOURCE,
        id=id_of(value.get("id")) or id_of(chat.get("id")) or "",
        title=line_of(value.get("title")) or line_of(chat.get("title")),
        messages=messages,
        shown=shown,
        created=seconds_of(value.get("created_at")),
        updated=updated,
        model=line_of(next(iter(list_of(chat.get("models"))), "")),
        system_prompt=text_of_value(chat.get("system")) or text_of_value(params.get("system")),
        temperature=temperature if isinstance(temperature, int | float) else None,
        pinned=(updated or 0.0) if value.get("pinned") is True else None,
        archived=(updated or 0.0) if value.get("archived") is True else None,
        left_out=counter.counts,
    )


def _webui_message(node_id: str, value: dict[str, Any], counter: Counter) -> ParsedMessage | None:
    role = value.get("role")
    if role not in {"user", "assistant"}:
        counter.add(f"message of role {line_of(role, 20)}")
        return None
    text, files = _text_and_files(value.get("content"), counter)
    thoughts: list[str] = []

    def take(found: re.Match[str]) -> str:
        if found[1] == "reasoning":
            thoughts.append(html.unescape(_QUOTE_MARK.sub("", _SUMMARY.sub("", found[2])).strip()))
        else:
            counter.add(found[1])
        return ""

    if role == "assistant" and "<details" in text and text.count("</details>") < 1_000:
        text = _DETAILS.sub(take, text)
    for item in list_of(value.get("output")):
        kind = dict_of(item).get("type")
        if kind == "reasoning" and not thoughts:
            thoughts += [
                text_of_value(dict_of(part).get("text")) for part in list_of(dict_of(item).get("content"))
            ]
        elif kind not in {"message", "reasoning"}:
            counter.add(kind)
    files += [name for each in list_of(value.get("files")) if (name := line_of(dict_of(each).get("name")))]
    problem = _problem_of(value.get("error"))
    if not (text.strip() or files or problem or thoughts):
        return None
    rating = dict_of(value.get("annotation")).get("rating")
    return ParsedMessage(
        id=node_id,
        parent=None,
        role=role,
        text=text.strip("\n"),
        thinking="\n\n".join(each for each in thoughts if each),
        model=line_of(value.get("model")) if role == "assistant" else "",
        created=seconds_of(value.get("timestamp")),
        files=files,
        rating=int(rating) if rating in (1, -1) else None,
        problem=problem,
    )


def _problem_of(error: Any) -> str:
    """Return why an answer failed; empty: it did not."""
    return (line_of(error) or line_of(dict_of(error).get("content")) or "error") if error else ""


def _text_and_files(content: Any, counter: Counter) -> tuple[str, list[str]]:
    if isinstance(content, str):
        return content, []
    texts: list[str] = []
    files: list[str] = []
    for part in list_of(content):
        kind = dict_of(part).get("type")
        if kind == "text":
            texts.append(text_of_value(part.get("text")))
        elif kind == "image_url":
            files.append("picture")
        else:
            counter.add(kind)
    return "\n\n".join(text for text in texts if text), files
