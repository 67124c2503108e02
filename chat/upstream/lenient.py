"""Reading of pieces and documents whose fields have other types than OpenAI's.

Only the text of the answer must be understood. Whatever else is odd, such as token counts, is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from chat.upstream.errors import Malformed
from chat.upstream.finish_reasons import reason_in
from chat.upstream.images import images_in_parts
from chat.upstream.types import StreamChoice, StreamChunk, StreamDelta, Usage

# The largest count that the database stores.
TOKENS_MAX = 2**31 - 1
# Digits of a whole number that may mean something.
_DIGITS_MAX = 18


def loads(data: bytes) -> Any:
    """Decode JSON with invalid UTF-8, NaN and numbers of any length. Raises Malformed."""
    try:
        return json.loads(data.decode(errors="replace"), parse_int=_whole_number)
    except (ValueError, RecursionError) as exc:
        raise Malformed(data[:200].decode(errors="replace")) from exc


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS_MAX else float(digits)


def chunk_of(value: Any) -> StreamChunk:
    """Return the chunk in a decoded piece or document. Raises Malformed if it may have lost text."""
    if not isinstance(value, dict):
        raise Malformed(_shortened(value))
    choices = value.get("choices")
    if isinstance(choices, dict):
        choices = [choices]
    if not isinstance(choices, list | None):
        raise Malformed(_shortened(value))
    read = [_choice_of(choice) for choice in choices or () if choice is not None]
    return StreamChunk(read, value.get("usage"), _error_of(value, has_choices=bool(read)))


def _choice_of(value: Any) -> StreamChoice:
    if not isinstance(value, dict):
        raise Malformed(_shortened(value))
    index = value.get("index")
    delta = value.get("delta")
    if not delta:
        delta = value.get("message")
    if delta is None and isinstance(value.get("text"), str):
        delta = value["text"]  # the older completions API
    return StreamChoice(
        _delta_of(delta),
        reason_in(value.get("finish_reason")),
        index if isinstance(index, int) else 0,
        value.get("logprobs"),
    )


def _delta_of(value: Any) -> StreamDelta | None:
    if value is None:
        return None
    if isinstance(value, str):
        return StreamDelta(content=value)
    if not isinstance(value, dict):
        raise Malformed(_shortened(value))
    content = value.get("content")
    thinking = [*_texts_of(value.get("reasoning_content") or value.get("reasoning"))]
    thinking += [text for part in _parts_of(content) for text in _thinking_of(part)]
    refusal = value.get("refusal")
    return StreamDelta(
        content=_content_of(content),
        reasoning_content="".join(thinking),
        refusal=refusal if isinstance(refusal, str) else None,
        tool_calls=value.get("tool_calls"),
        images=value.get("images") or images_in_parts(_parts_of(content)),
    )


def _content_of(value: Any) -> str:
    """Return the text of a message's content: a text, a number, or a part or list of parts."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return "".join(_text_of(part) for part in _parts_of(value))
    if isinstance(value, bool | int | float):
        return json.dumps(value)  # a proxy has decoded a text that is also JSON
    if isinstance(value, dict) and (not value or isinstance(value.get("type"), str) or _text_of(value)):
        return _text_of(value)
    raise Malformed(_shortened(value))


def _parts_of(value: Any) -> Iterator[Any]:
    """Yield the parts of a content that has some, from lists within lists, too."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from [item] if isinstance(item, str) else _parts_of(item)


def _text_of(part: Any) -> str:
    """Return the text that a part adds to the answer; other parts, such as references, are passed over."""
    if isinstance(part, str):
        return part
    kind = part.get("type", "text")
    names = {"text": "text", "output_text": "text", "refusal": "refusal"}
    text = part.get(names[kind]) if isinstance(kind, str) and kind in names else None
    if isinstance(text, dict):  # {"value": …}, as in the Assistants API
        text = text.get("value")
    return text if isinstance(text, str) else ""


def _thinking_of(part: Any) -> Iterator[str]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("thinking", "reasoning", "reasoning_text", "summary_text", "thought"):
        for name in ("thinking", "reasoning", "text", "summary", "content"):
            yield from _texts_of(part.get(name))


def _texts_of(value: Any) -> Iterator[str]:
    """Yield the texts in a field for reasoning, whatever its form."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif isinstance(value, dict):
        yield from _texts_of(value.get("text") or value.get("content") or value.get("summary"))


def error_in(value: Any) -> Any:
    """Return what an `error` field says; None if it says nothing."""
    if isinstance(value, dict):
        names = ("message", "code", "type", "status", "error", "detail", "reason", "metadata")
        return value if any(value.get(name) for name in names) else None
    return value if isinstance(value, str) and value.strip() else None


def _error_of(value: dict[str, Any], *, has_choices: bool) -> Any:
    error = error_in(value.get("error"))
    if error is not None or has_choices:
        return error
    if value.get("error"):
        return {"message": value.get("message") or _shortened(value["error"])}
    names = ("message", "detail", "msg", "error_message")
    says = next((text for name in names if isinstance(text := value.get(name), str) and text), None)
    return None if "choices" in value or says is None else value | {"message": says}


def usage_of(value: Any) -> Usage | None:
    """Return the token counts in a `usage` field of any type; None if there are none."""
    if not isinstance(value, dict):
        return None
    prompt = value.get("prompt_tokens_details") or value.get("input_tokens_details")
    completion = value.get("completion_tokens_details") or value.get("output_tokens_details")
    usage = Usage(
        tokens_of(value.get("prompt_tokens", value.get("input_tokens"))),
        tokens_of(value.get("completion_tokens", value.get("output_tokens"))),
        _first_count(
            prompt.get("cached_tokens") if isinstance(prompt, dict) else None,
            value.get("prompt_cache_hit_tokens"),  # DeepSeek
            value.get("cache_read_input_tokens"),  # Anthropic
            value.get("cached_tokens"),
        ),
        _first_count(
            completion.get("reasoning_tokens") if isinstance(completion, dict) else None,
            value.get("reasoning_tokens"),
        ),
    )
    return None if usage.prompt_tokens is None and usage.completion_tokens is None else usage


def _first_count(*values: Any) -> int | None:
    return next((count for value in values if (count := tokens_of(value)) is not None), None)


def tokens_of(value: Any) -> int | None:
    """Return a count of tokens from a number or a text with one; None if it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return round(number) if math.isfinite(number) and 0 <= number <= TOKENS_MAX else None


def _shortened(value: Any) -> str:
    return repr(value)[:200]
