"""The values that callers of `upstream` pass in and get back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

# (endpoint, model)
type TargetKey = tuple[str, str]


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the endpoint counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Recovery(StrEnum):
    """How a call goes on after text has been shown."""

    # The model is sent the text so far and writes on.
    CONTINUE = "continue"
    # The model is asked anew.
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `total_s` covers all attempts of an answer, the others one attempt.

    `first_token_with_fallback_s`: less patience where another model could answer instead.
    """

    connect_s: float = 5.0
    first_token_s: float = 30.0
    first_token_with_fallback_s: float = 10.0
    stall_s: float = 20.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A model at an endpoint: one member of a route. Slots are counted under the name `endpoint`."""

    base_url: str
    api_key: str
    model: str
    endpoint: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    finish_reason_optional: bool = False
    max_output_tokens: int | None = None
    # A prompt that is too long for one goes to a fallback that takes more.
    context_tokens: int = 0
    # How many calls may run at once at the endpoint.
    slots: int = 32
    # Whether it writes on when it is sent the beginning of its answer.
    continues: bool = False

    @property
    def key(self) -> TargetKey:
        """The names of its endpoint and its model."""
        return self.endpoint or self.base_url, self.model


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages as the protocol has them: `{"role": …, "content": …}`, oldest first."""

    messages: Sequence[dict[str, Any]]
    temperature: float | None = None
    # What else the endpoint needs in the body, such as vLLM's continue_final_message.
    extra: dict[str, Any] = field(default_factory=dict)
    # The beginning of the answer, where the last message is that.
    prefill: str = ""
    # As the one who asks wants it; the target's own limit holds, too.
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A complete answer: the endpoint's finish reason, what it counted, if it did, and who gave it."""

    reason: str
    usage: Usage | None
    target: Target
