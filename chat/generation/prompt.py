"""From a conversation to what the model is sent: the system prompt and the newest turns that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat.models.catalog import Model
from chat.models.conversation import Message
from chat.models.generation import ApiRequest
from chat.text import text_of
from chat.upstream import Prompt

# Bytes per token. English is nearer to four; a guess that is too low only leaves out a turn more.
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8
# Old messages are left out so many at a time: what a model reads then begins alike for some turns, and
# neither it nor a provider's cache has to read all of it anew each time.
LEFT_OUT_AT_ONCE = 8
# Of the context, what is kept free for the answer when the model has no limit of its own.
ANSWER_SHARE = 0.25

# For models that do not continue a partial answer by themselves.
CONTINUE_REQUEST = "Continue exactly where your last message ended. Do not repeat any of it."


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits, and how many earlier messages were left out of it."""

    prompt: Prompt
    left_out: int
    # What it takes, by our estimate.
    tokens: int
    # What it was cut down to after a refusal, if it was.
    room: int | None = None


def tokens_in(text: str) -> int:
    """Estimate how many tokens a message with this text takes."""
    return len(text.encode()) // BYTES_PER_TOKEN + TOKENS_PER_MESSAGE


def room_for_prompt(model: Model) -> int:
    """Return how many tokens of the model's context the prompt may take."""
    answer = int(model.context_tokens * ANSWER_SHARE)
    if model.max_output_tokens is not None:
        answer = min(answer, model.max_output_tokens)
    return model.context_tokens - answer


def fit(
    history: Sequence[Message],
    model: Model,
    *,
    earlier: int = 0,
    system_prompt: str = "",
    temperature: float | None = None,
    partial: str = "",
    may_prefill: bool = True,
    room: int | None = None,
) -> Fitted:
    """Build the prompt from `history` (oldest first, ending with the question) and leave out what is too old.

    `earlier`: messages before `history` that were not even read. `partial`: the answer so far, to be
    written on; as the model's row says, unless the model does not take it (`may_prefill`). `room`: tokens
    to use instead of all that the model should have room for, after the endpoint refused a longer prompt.
    The question itself is always sent: whether it fits is for the endpoint to say.
    """
    messages: list[dict[str, Any]] = []
    system = system_prompt or model.system_prompt
    cut_to = room
    room = room_for_prompt(model) if room is None else room
    all_of_it = room
    if system:
        messages.append({"role": "system", "content": system})
        room -= tokens_in(system)
    continuation = model.continuation if may_prefill else Model.Continuation.NONE
    ending, extra = _continuation(continuation, partial)
    room -= sum(tokens_in(message["content"]) for message in ending)
    turns: list[dict[str, Any]] = []
    for message in reversed(history):
        room -= tokens_in(message.text)
        if turns and room < 0:
            room += tokens_in(message.text)
            break
        if message.text:
            turns.append({"role": message.role, "content": message.text})
    room += _left_out_at_once(turns, earlier + len(history) - len(turns))
    # A conversation sent to a model begins with a person's turn.
    while len(turns) > 1 and turns[-1]["role"] == Message.Role.ASSISTANT:
        room += tokens_in(turns.pop()["content"])
    turns.reverse()
    left_out = earlier + sum(1 for message in history if message.text) - len(turns)
    prefill = "" if continuation == Model.Continuation.NONE else partial
    return Fitted(
        Prompt([*messages, *turns, *ending], temperature, extra, prefill), left_out, all_of_it - room, cut_to
    )


def tokens_of(request: ApiRequest) -> int:
    """Estimate how many tokens the messages of a program's request take."""
    if request.large is not None:
        return request.large.text_bytes // BYTES_PER_TOKEN + request.large.message_count * TOKENS_PER_MESSAGE
    return sum(tokens_in(text_of(message)) for message in request.messages)


def as_asked(
    request: ApiRequest,
    model: Model,
    *,
    encoded: Sequence[bytes] = (),
    partial: str = "",
    may_prefill: bool = True,
) -> Fitted:
    """Build the prompt from what a program asked, all of it and as it is.

    `encoded`: the stored messages of a large request. `partial`, `may_prefill`: see `fit`.
    """
    continuation = model.continuation if may_prefill else Model.Continuation.NONE
    ending, extra = _continuation(continuation, partial)
    prefill = "" if continuation == Model.Continuation.NONE else partial
    messages = [*request.messages, *ending]
    parameters = {**request.parameters, **extra}
    limit = parameters.pop("max_tokens", None)
    prompt = Prompt(messages, extra=parameters, prefill=prefill, max_output_tokens=limit, encoded=encoded)
    tokens = tokens_of(request) + sum(tokens_in(text_of(message)) for message in ending)
    return Fitted(prompt, 0, tokens)


def _left_out_at_once(turns: list[dict[str, Any]], left_out: int) -> int:
    """Leave out some of `turns` (newest first) more, to a round number; return the tokens that frees."""
    more = -left_out % LEFT_OUT_AT_ONCE if left_out else 0
    if more * 2 > len(turns):  # a round number is not worth half of what fits
        return 0
    gone = [turns.pop() for _n in range(more)]
    return sum(tokens_in(turn["content"]) for turn in gone)


def _continuation(continuation: str, partial: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the messages that ask for more of `partial`, and what the body needs beside them."""
    if not partial:
        return [], {}
    prefill = {"role": "assistant", "content": partial}
    match continuation:
        case Model.Continuation.PLAIN:
            return [prefill], {}
        case Model.Continuation.VLLM:
            return [prefill], {"continue_final_message": True, "add_generation_prompt": False}
        case Model.Continuation.PREFIX:
            return [{**prefill, "prefix": True}], {}
        case _:
            return [prefill, {"role": "user", "content": CONTINUE_REQUEST}], {}
