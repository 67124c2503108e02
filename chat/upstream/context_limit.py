"""What an endpoint says about the size of a context when a prompt exceeds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = r"(\d{2,9})(?!\w|\.\d)"
_IS = r"(?: (?:is|of|only|just|at|limit|tokens|this|the|your|model|endpoint))*[ :=(]+"
# The limit in the wordings of the providers. The order decides: some name other numbers before it.
_LIMITS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Anthropic: "N + N > LIMIT" with the output, "N tokens > LIMIT maximum" without
        rf"\d(?: tokens)? > {_NUMBER}",
        # OpenAI, vLLM, SGLang, OpenRouter, DeepSeek, LM Studio, llama.cpp
        rf"\bcontext(?: (?:length|window|size|limit))?{_IS}{_NUMBER}",
        rf"\bmaximum (?:prompt|input|sequence|model) (?:length|size){_IS}{_NUMBER}",
        # Gemini
        rf"maximum (?:number of )?(?:allowed )?(?:input )?tokens(?: allowed)?{_IS}{_NUMBER}",
        # Mistral
        rf"\b{_NUMBER}(?: tokens?)? (?:maximum|max\b|context)",
        rf"\b(?:n_ctx|max_model_len)\W{{1,4}}{_NUMBER}",
        # OpenAI's newer ones; TGI and others
        rf"\blimit(?: is| of)? {_NUMBER} tokens",
        rf"(?:<=|cannot exceed|must not exceed) {_NUMBER}",
    )
]
_TOKENS = re.compile(r"(?<![\w.-])(\d{3,9})(?![\w.-]|\.\d)")
# Tokens that the request reserves for the answer are not part of the prompt.
_FOR_ANSWER = re.compile(r"\b(\d+)(?: tokens)? (?:in|for) (?:the|your) (?:completion|output)", re.IGNORECASE)
_PROMPT_PLUS_ANSWER = re.compile(r"\b(\d+) \+ (\d+) >")


def limit_in(message: str, values: Mapping[str, Any]) -> int | None:
    """Return the size of the context in tokens, if an error names it.

    `values`: the fields of the error's object, of which llama.cpp's `n_ctx` is read.
    """
    named = values.get("n_ctx")
    if isinstance(named, int | float) and not isinstance(named, bool) and 0 < named < 1e9:
        return int(named)
    plain = _plain(message)
    found = (pattern.search(plain) for pattern in _LIMITS)
    return next((int(match[1]) for match in found if match), None)


def fitting_share(message: str, values: Mapping[str, Any]) -> float | None:
    """Return the share of the prompt (0..1) that fits, if an error names the prompt's size and the limit."""
    limit = limit_in(message, values)
    numbers = sorted({int(number) for number in _TOKENS.findall(_plain(message))})
    if limit is None:  # most likely the smaller of two numbers of tokens, whatever the words
        return numbers[0] / numbers[-1] if len(numbers) in (2, 3, 4) else None
    size, reserved = _size_in(message, values, limit)
    if reserved >= min(limit, size):
        reserved = 0
    return (limit - reserved) / (size - reserved) if size > limit else None


def _size_in(message: str, values: Mapping[str, Any], limit: int) -> tuple[float, int]:
    """Return the size of the whole request, 0 if it is not named, and how much of it is for the answer."""
    plain = _plain(message)
    if both := _PROMPT_PLUS_ANSWER.search(plain):
        return int(both[1]) + int(both[2]), int(both[2])
    for_answer = _FOR_ANSWER.search(plain)
    reserved = int(for_answer[1]) if for_answer else 0
    size = values.get("n_prompt_tokens")
    if isinstance(size, int | float):
        return size, reserved
    numbers = map(int, _TOKENS.findall(plain))
    return max((number for number in numbers if number > limit), default=0), reserved


def _plain(message: str) -> str:
    return _COMMA_IN_NUMBER.sub("", message)
