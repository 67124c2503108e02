"""Which format a value is in, and its conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chat.transfer.formats.chatgpt import is_chatgpt, parse_chatgpt
from chat.transfer.formats.claude import is_claude, parse_claude
from chat.transfer.formats.librechat import is_librechat, parse_librechat
from chat.transfer.formats.open_webui import is_open_webui, parse_open_webui
from chat.transfer.formats.own import is_own, parse_own
from chat.transfer.formats.parsed import NotImportable, ParsedConversation, finished

type Parser = Callable[[Mapping[str, Any], Mapping[str, str]], ParsedConversation]

FORMATS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Parser], ...] = (
    (is_own, parse_own),
    (is_claude, parse_claude),
    (is_open_webui, parse_open_webui),
    (is_librechat, parse_librechat),
    (is_chatgpt, parse_chatgpt),
)


def is_conversation(value: Any) -> bool:
    """Return whether a value looks like a conversation of any format."""
    return isinstance(value, dict) and any(is_format(value) for is_format, _parse in FORMATS)


def parse(value: Any, names: Mapping[str, str]) -> ParsedConversation:
    """Return a conversation of any known format. Raises NotImportable."""
    if not isinstance(value, dict):
        raise NotImportable("It is not an object.")
    for is_format, read in FORMATS:
        if is_format(value):
            conversation = finished(read(value, names))
            # Without an id of its own, a conversation is known by its first message.
            conversation.id = conversation.id or f"first:{conversation.messages[0].id}"
            return conversation
    raise NotImportable("It is in none of the known formats.")
