"""The body of a request to an endpoint, without the parameters that the model refuses.

What a server refuses is left out or sent in its other form: `max_tokens` as `max_completion_tokens` or the
reverse, and a system prompt as the beginning of the first user message. The role `developer` is sent to
OpenAI's own server only: the chat templates of most models refuse such a message or drop it silently.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile
from typing import Any

from chat.upstream.types import Prompt, Target

SYSTEM, PREFILL = "system", "prefill"
MAX_TOKENS_NAMES = ("max_tokens", "max_completion_tokens")
# Without these the answer would be another one than was asked for.
REQUIRED = frozenset(
    {
        "model",
        "messages",
        "stream",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "response_format",
        "n",
        "logprobs",
        "top_logprobs",
    }
)


def request_body(target: Target, prompt: Prompt, refused: Collection[str]) -> dict[str, Any]:
    """Return the JSON of a request. `refused`: names of parameters, SYSTEM or PREFILL."""
    body: dict[str, Any] = {
        "model": target.model,
        "messages": list(prompt.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **prompt.extra,
    }
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    limits = [limit for limit in (target.max_output_tokens, prompt.max_output_tokens) if limit is not None]
    if limits and (name := _name_of_limit(target, refused)):
        body[name] = min(limits)
    if not _is_openai(target):
        body["messages"] = _without_developer(body["messages"])
    if SYSTEM in refused:
        body["messages"] = _without_system(body["messages"])
    return {name: value for name, value in body.items() if name in REQUIRED or name not in refused}


def _name_of_limit(target: Target, refused: Collection[str]) -> str | None:
    # OpenAI's newer models reject the old name; most other servers accept only that one.
    names = MAX_TOKENS_NAMES[::-1] if _is_openai(target) else MAX_TOKENS_NAMES
    return next((name for name in names if name not in refused), None)


def _is_openai(target: Target) -> bool:
    return "api.openai.com" in target.base_url


def _without_developer(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give developer messages the role `system`. Those at the beginning become one, as templates expect."""
    if not any(each.get("role") == "developer" for each in messages):
        return messages
    renamed = [{**each, "role": "system"} if each.get("role") == "developer" else each for each in messages]
    leading = [*takewhile(_is_system_text, renamed)]
    if len(leading) < 2:
        return renamed
    content = "\n\n".join(each["content"] for each in leading)
    return [{"role": "system", "content": content}, *renamed[len(leading) :]]


def _is_system_text(message: dict[str, Any]) -> bool:
    return message.get("role") == "system" and isinstance(message.get("content"), str)


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the system prompt before the text of the first user message."""
    system = [each for each in messages if each.get("role") in ("system", "developer")]
    others = [each for each in messages if each not in system]
    instructions = "\n\n".join(text for each in system for text in _texts_in(each.get("content")))
    for number, message in enumerate(others):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            joined: Any = f"{instructions}\n\n{content}"
        else:
            joined = [{"type": "text", "text": instructions}, *(content or ())]
        return [*others[:number], {**message, "content": joined}, *others[number + 1 :]]
    return [*others, {"role": "user", "content": instructions}]


def _texts_in(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if isinstance(part.get("text"), str)]


def sent_parameters(target: Target, prompt: Prompt, refused: Collection[str]) -> set[str]:
    """Return what a request contains that it could do without."""
    body = request_body(target, prompt, refused)
    sent = set(body) - REQUIRED
    if SYSTEM not in refused and any(each.get("role") == "system" for each in body["messages"]):
        sent.add(SYSTEM)
    if prompt.prefill:
        sent.add(PREFILL)
    return sent
