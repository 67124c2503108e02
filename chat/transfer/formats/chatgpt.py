"""ChatGPT's export: a tree of nodes, `mapping`, of which many are not for showing."""

from __future__ import annotations

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

SOURCE = "chatgpt"
# Kinds of content that no reader of the conversation saw.
HIDDEN_KINDS = {
    *("thoughts", "reasoning_recap", "user_editable_context", "model_editable_context", "tether_quote"),
    *("tether_browsing_display", "sonic_webpage", "system_error", "execution_output"),
}
# Parts that only point to what another part has as text.
SILENT_PARTS = {"audio_asset_pointer", "real_time_user_audio_video_asset_pointer"}
# Citations: private-use characters around a reference, and numbers in lenticular brackets.
_CITATION = re.compile("\ue200[^\ue200\ue201]{0,2000}\ue201|[\ue200-\ue206]|【[0-9:]{1,20}†[^】\n]{0,200}】")


def is_chatgpt(value: Mapping[str, Any]) -> bool:
    return "mapping" in value or ("conversation_id" in value and "current_node" in value)


def parse_chatgpt(value: Mapping[str, Any], names: Mapping[str, str]) -> ParsedConversation:
    """Read one conversation. `names`: stored name of a file → the name that the person gave it."""
    if "mapping" not in value:
        raise NotImportable("It is an empty shell, without messages.")
    mapping = value["mapping"]
    if not isinstance(mapping, dict):
        raise NotImportable("Its messages are not in the form of a tree.")
    counter = Counter()
    default_model = line_of(value.get("default_model_slug"))
    nodes = []
    for key, node in mapping.items():
        if isinstance(node, dict) and (node_id := id_of(key)):
            message = _message(node_id, dict_of(node.get("message")), names, counter)
            if message and message.role == "assistant" and not message.model and default_model != "auto":
                message.model = default_model
            when = seconds_of(dict_of(node.get("message")).get("create_time"))
            nodes.append(ParsedNode(node_id, id_of(node.get("parent")), when, message))
        else:
            counter.add("malformed node")
    messages, shown = arranged(nodes, id_of(value.get("current_node")))
    created = seconds_of(value.get("create_time"))
    return ParsedConversation(
        source=SOURCE,
        id=id_of(value.get("conversation_id")) or id_of(value.get("id")) or "",
        title=line_of(value.get("title")),
        messages=messages,
        shown=shown,
        created=created,
        updated=seconds_of(value.get("update_time")),
        model="" if default_model == "auto" else default_model,
        archived=(seconds_of(value.get("update_time")) or created or 0.0)
        if value.get("is_archived") is True
        else None,
        pinned=seconds_of(value.get("pinned_time")) if value.get("pinned_time") else None,
        left_out=counter.counts,
    )


def _message(
    node_id: str, message: dict[str, Any], names: Mapping[str, str], counter: Counter
) -> ParsedMessage | None:
    """Return the message of a node, or None if it is not for showing."""
    author, metadata = dict_of(message.get("author")), dict_of(message.get("metadata"))
    content = dict_of(message.get("content"))
    role, kind = author.get("role"), content.get("content_type")
    if not content or metadata.get("is_visually_hidden_from_conversation") or kind in HIDDEN_KINDS:
        return None
    if role not in {"user", "assistant", "tool"}:
        return None
    if role == "assistant" and message.get("recipient") not in {None, "all"}:
        counter.add("call of a tool")
        return None
    attached = {
        line_of(each.get("id")): name
        for each in map(dict_of, list_of(metadata.get("attachments")))
        if (name := line_of(each.get("name")))
    }
    text, files = _content(content, attached, names, counter)
    files += [name for name in attached.values() if name not in files]
    # Of what tools say, only pictures that they made were shown.
    if role == "tool":
        text = ""
        if not files:
            counter.add("output of a tool")
    if not text.strip() and not files:
        return None
    return ParsedMessage(
        id=node_id,
        parent=None,
        role="user" if role == "user" else "assistant",
        text=_CITATION.sub("", text).strip("\n"),
        model=line_of(metadata.get("model_slug")) if role != "user" else "",
        created=seconds_of(message.get("create_time")),
        files=files,
    )


def _content(
    content: dict[str, Any], attached: Mapping[str, str], names: Mapping[str, str], counter: Counter
) -> tuple[str, list[str]]:
    """Return the text of a message and the names of its files."""
    if content.get("content_type") == "code":
        text = text_of_value(content.get("text"))
        return (f"```\n{text}\n```" if text else ""), []
    texts, files = [text_of_value(content.get("text"))], []
    for part in list_of(content.get("parts")):
        kind = dict_of(part).get("content_type")
        if isinstance(part, str):
            texts.append(part)
        elif kind == "image_asset_pointer":
            stored = line_of(part.get("asset_pointer")).rpartition("://")[2]
            files.append(attached.get(stored) or names.get(stored) or stored or "picture")
        elif kind == "audio_transcription":
            texts.append(text_of_value(part.get("text")))
        elif part is not None and kind not in SILENT_PARTS:
            counter.add(kind or "unknown part")
    return "\n\n".join(text for text in texts if text), files
