"""The small calls of a check. Each is billed like any other, so they are few and short."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from chat import events, upstream
from chat.generation import routing
from chat.models.catalog import Model
from chat.upstream import Prompt, Target, errors

# A reasoning model needs some of them before its first word.
OUTPUT_TOKENS = 64
# One call, and one more for each parameter that is refused.
ANSWER_CALLS_MAX = 7
# The smallest PNG: one pixel.
_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Return the time.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_SYSTEM = {"role": "system", "content": "Answer briefly."}
_COUNT = {"role": "user", "content": "Count from 1 to 15."}
ANSWER = Prompt([_SYSTEM, _COUNT], temperature=0.5, max_output_tokens=OUTPUT_TOKENS)
TOOLS = Prompt([_COUNT], extra={"tools": [_TOOL]}, max_output_tokens=OUTPUT_TOKENS)
IMAGES = Prompt(
    [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": _IMAGE}},
            ],
        }
    ],
    max_output_tokens=OUTPUT_TOKENS,
)
_PARTIAL = "1, 2, 3,"
_PREFILL_FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    Model.Continuation.VLLM: ({}, {"continue_final_message": True, "add_generation_prompt": False}),
    Model.Continuation.PREFIX: ({"prefix": True}, {}),
}


def prefill(continuation: str) -> Prompt:
    """Return a prompt that ends with a partial answer, in the form of a model's `continuation`."""
    fields, extra = _PREFILL_FORMS.get(continuation, ({}, {}))
    last = {"role": "assistant", "content": _PARTIAL, **fields}
    return Prompt([_COUNT, last], extra=extra, prefill=_PARTIAL, max_output_tokens=OUTPUT_TOKENS)


@dataclass(slots=True)
class CallResult:
    """How a call ended. `refused`: the parameters that were left out on the way, and why.

    `first_text_s`: seconds from the request to the first text or reasoning; None if there was none.
    `pieces`: the number of times that text arrived.
    """

    error: errors.UpstreamError | None = None
    refused: dict[str, str] = field(default_factory=dict)
    first_text_s: float | None = None
    end_s: float = 0.0
    chars: int = 0
    pieces: int = 0
    usage: upstream.Usage | None = None
    reason: str = ""


async def call(target: Target, prompt: Prompt, client: upstream.Client, *, calls: int = 1) -> CallResult:
    """Ask for one answer. Only a refused parameter is a reason for a further call, of `calls` in all."""
    loop = asyncio.get_running_loop()
    result, started_s = CallResult(), loop.time()
    stream = upstream.stream(
        [target],
        lambda *_args, **options: None if options.get("refused") else prompt,
        client=client,
        state=routing.new_upstream_state(None),
        budget=upstream.CallBudget(calls_left=calls, recoveries_left=0),
        # No wait is short enough: a check reports a failure instead of repeating it.
        policy=upstream.Policy(calls_per_target=calls, recoveries=frozenset(), retry_after_max_s=-1.0),
    )
    try:
        async with aclosing(stream) as steps:
            async for step in steps:
                if isinstance(step, upstream.StartedStep):
                    started_s = loop.time()
                _note(result, step, loop.time() - started_s)
    except errors.UpstreamError as exc:
        result.error = exc
    return result


def _note(result: CallResult, step: upstream.Step, at_s: float) -> None:
    match step:
        case upstream.RefusedStep():
            result.refused[step.parameter] = step.error.detail
        case events.Delta() | events.Thinking():
            result.first_text_s = at_s if result.first_text_s is None else result.first_text_s
            result.chars += len(step.text)
            result.pieces += 1
        case upstream.Finished():
            result.usage, result.reason, result.end_s = step.usage, step.reason, at_s


def target_for(target: Target, refused: frozenset[str], patience_s: float) -> Target:
    """Return a target with the time limits of a check, that leaves out what is `refused`."""
    limits = target.timeouts
    timeouts = replace(
        limits, first_token_s=min(limits.first_token_s, patience_s), total_s=min(limits.total_s, patience_s)
    )
    return replace(target, refused=refused, timeouts=timeouts)
