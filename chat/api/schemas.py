"""Structs of the API's requests and responses. The OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

INT_MAX = 2**31 - 1

type Text = Annotated[str, Meta(max_length=10_000)]
type Count = Annotated[int, Meta(ge=1, le=INT_MAX)]
type Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Part(msgspec.Struct, frozen=True):
    """A part of a message. Fields other than these (`image_url`, `file`) are passed on unchanged."""

    type: Literal["text", "image_url", "file", "refusal"]
    text: str | None = None


class RequestMessage(msgspec.Struct, frozen=True):
    """A message of the prompt. Other fields are passed on unchanged."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CompletionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All parameters of a completion request but its messages."""

    model: Annotated[str, Meta(min_length=1, max_length=300)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # Chatsite's own.
    fallbacks: Annotated[list[str], Meta(max_length=8)] | None = None
    background: bool | None = None
    callback_url: Annotated[str, Meta(max_length=500)] | None = None

    # Passed on to the model.
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Text | None = None
    verbosity: Text | None = None
    service_tier: Text | None = None
    prompt_cache_key: Text | None = None
    top_k: Annotated[int, Meta(ge=-1, le=INT_MAX)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None

    # Accepted but not passed on.
    user: Text | None = None
    safety_identifier: Text | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None

    # Accepted only with values that have no effect: an answer that uses them could not be recovered.
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None


class CompletionRequest(CompletionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a completion. Unknown parameters are rejected."""

    messages: Annotated[list[RequestMessage], Meta(min_length=1, max_length=10_000)]


PASSED_ON = (
    *("temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty"),
    *("logit_bias", "response_format", "reasoning_effort", "verbosity", "service_tier"),
    *("prompt_cache_key", "top_k", "min_p", "repetition_penalty"),
)
# Parameter -> the values that have no effect.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}


class CompletionUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `reasoning_content`: the reasoning text, if the model sends it."""

    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str | None = None
    refusal: str | None = None


class Choice(msgspec.Struct, frozen=True):
    index: int
    message: AssistantMessage
    finish_reason: str
    logprobs: None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer. `model` and `usage` are those of the model that answered."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | None = None


class ChunkDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int
    delta: ChunkDelta
    finish_reason: str | None = None
    logprobs: None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk of a streamed answer. If usage was requested, the last one has it and no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | msgspec.UnsetType | None = msgspec.UNSET


class ModelCard(msgspec.Struct, frozen=True):
    id: str
    owned_by: str
    object: Literal["model"] = "model"
    created: int = 0


class ModelList(msgspec.Struct, frozen=True):
    data: list[ModelCard]
    object: Literal["list"] = "list"


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """`message` says what to change. `generation`: the id under which partial text can be read."""

    message: str
    type: str
    param: str | None = None
    code: str
    generation: str | msgspec.UnsetType = msgspec.UNSET


class ErrorReply(msgspec.Struct, frozen=True):
    error: Error


class GenerationState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a generation. `text` is complete once `status` is final."""

    id: str
    object: Literal["generation"] = "generation"
    status: str
    model: str
    created: int
    started: int | None = None
    finished: int | None = None
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: CompletionUsage | None = None
    error: Error | None = None
    completion: Completion | None = None


encode = msgspec.json.Encoder().encode
