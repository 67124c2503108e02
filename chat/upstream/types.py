"""The values that callers of `upstream` pass in and get back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from chat.upstream.errors import ContextTooLong

# Endpoint and model.
type TargetKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The time limits of an answer.

    `total_s` covers all calls of the answer, the others one call.
    `first_token_with_fallback_s`: a shorter limit that applies if another model could answer instead.
    """

    connect_s: float = 5.0
    first_token_s: float = 30.0
    first_token_with_fallback_s: float = 10.0
    stall_s: float = 20.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A model at an endpoint: one member of a route. Slots are counted by `endpoint`."""

    base_url: str
    api_key: str
    model: str
    endpoint: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    finish_reason_optional: bool = False
    max_output_tokens: int | None = None
    # The size of its context; None: unknown.
    context_tokens: int | None = None
    # How many calls may run at the endpoint at once.
    slots: int = 32
    # Whether the model can continue a partial answer that it is sent.
    continues: bool = False
    # The parameters that the model does not accept, as in `request_body.py`.
    refused: frozenset[str] = frozenset()

    @property
    def key(self) -> TargetKey:
        return self.endpoint or self.base_url, self.model


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages to send, oldest first, each `{"role": …, "content": …}`."""

    messages: Sequence[dict[str, Any]]
    temperature: float | None = None
    # Other fields of the request body, such as vLLM's continue_final_message.
    extra: dict[str, Any] = field(default_factory=dict)
    # The partial answer, if the last message is one that the model is to continue.
    prefill: str = ""
    # The caller's limit; the target's own limit applies as well.
    max_output_tokens: int | None = None
    # Messages before `messages`, for large prompts: JSON objects separated by commas, cut anywhere.
    encoded: Sequence[bytes] = ()

    @property
    def has_tools(self) -> bool:
        """Whether the model may call tools."""
        return bool(self.extra.get("tools"))

    @property
    def choices(self) -> int | None:
        """How many choices are passed on, with their log probabilities; None: just the answer."""
        count: int = self.extra.get("n") or 1
        return count if count > 1 or self.extra.get("logprobs") else None


class PromptBuilder(Protocol):
    def __call__(
        self, target: Target, *, partial: str, may_prefill: bool, refused: ContextTooLong | None
    ) -> Prompt | None:
        """Return the prompt for a target.

        `partial`: the text of the answer so far, to be continued. `may_prefill`: whether the target accepts
        a partial answer as the last message. `refused`: the target refused the previous prompt as too long,
        so a shorter one is needed; None is returned if there is none.
        """


class Usage(msgspec.Struct, frozen=True):
    """Tokens as counted by the endpoint.

    `cached_tokens` are a part of the prompt's, `reasoning_tokens` a part of the completion's.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class StreamDelta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: Any = None
    images: Any = None


class StreamChoice(msgspec.Struct, frozen=True):
    delta: StreamDelta | None = None
    finish_reason: str | None = None
    index: int = 0
    logprobs: Any = None


class StreamChunk(msgspec.Struct, frozen=True):
    """The JSON of one `data:` line, which the protocol calls a chunk, or of a whole answer.

    `usage` and `error` are as they were received.
    """

    choices: list[StreamChoice] | None = None
    usage: Any = None
    error: Any = None


class Recovery(StrEnum):
    """How an interrupted answer is completed by another call."""

    # The model is sent the text so far and continues it.
    CONTINUE = "continue"
    # The model is asked again.
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a complete answer. `usage`: None if the endpoint reports none.

    `note`: what staff should know about the answer, such as tool calls that were left out of it.
    """

    reason: str
    usage: Usage | None
    target: Target
    note: str = ""
    # The endpoint's name for the request; empty if it has none.
    request_id: str = ""
