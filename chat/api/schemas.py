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


class CompletionOptions(msgspec.Struct, frozen=True, kw_only=True):
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
    prompt_cache_retention: Text | None = None
    prediction: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    top_k: Annotated[int, Meta(ge=-1, le=INT_MAX)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None

    # Accepted but not passed on.
    user: Text | None = None
    safety_identifier: Text | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None

    # Passed on; the answer is not recovered if it is interrupted.
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    # Accepted only with some values.
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None


class CompletionRequest(CompletionOptions, frozen=True, kw_only=True):
    """A request for a completion. Other parameters are passed on, or as the endpoint says."""

    messages: Annotated[list[RequestMessage], Meta(min_length=1, max_length=10_000)]


PASSED_ON = (
    *("temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty"),
    *("logit_bias", "response_format", "reasoning_effort", "verbosity", "service_tier"),
    *("prompt_cache_key", "top_k", "min_p", "repetition_penalty"),
    *("tools", "tool_choice", "parallel_tool_calls", "prompt_cache_retention", "prediction"),
    *("n", "logprobs", "top_logprobs", "modalities"),
)
# Parameter -> the values that are accepted.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"], ["text", "image"], ["image", "text"], ["image"]),
    "audio": (),
    "web_search_options": (),
}
# What to do instead, where it is not obvious.
INSTEAD = {
    "functions": "Use “tools”.",
    "function_call": "Use “tool_choice”.",
}


class PromptTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class CompletionUsage(msgspec.Struct, frozen=True):
    """Tokens. The details are there if the model's endpoint tells them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | msgspec.UnsetType = msgspec.UNSET
    completion_tokens_details: CompletionTokensDetails | msgspec.UnsetType = msgspec.UNSET


class FunctionCall(msgspec.Struct, frozen=True):
    """What to run. `arguments` should be JSON; the model wrote it, so check it."""

    name: str
    arguments: str


class MessageToolCall(msgspec.Struct, frozen=True):
    """A function that the model wants the program to run. The result refers to its `id`."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class ImageUrl(msgspec.Struct, frozen=True):
    """A `data:` URL, or the address of the web that the model sent."""

    url: str


class MessageImage(msgspec.Struct, frozen=True):
    """A picture of the answer, as OpenRouter and LiteLLM send it."""

    image_url: ImageUrl
    type: Literal["image_url"] = "image_url"


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `reasoning_content`: the reasoning text, if the model sends it.

    `content`: null if there are only tool calls.
    """

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[MessageToolCall] | msgspec.UnsetType = msgspec.UNSET
    images: list[MessageImage] | msgspec.UnsetType = msgspec.UNSET
    # Citations of web searches, which are not supported; some clients need the field.
    annotations: list[dict[str, Any]] = []


class Choice(msgspec.Struct, frozen=True):
    """An answer. `logprobs`: as the model's endpoint sends them, if the request asks for them."""

    index: int
    message: AssistantMessage
    finish_reason: str
    logprobs: dict[str, Any] | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer. `model` and `usage` are those of the model that answered."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | None = None


class ChunkFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    arguments: str
    name: str | None = None


class ChunkToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of the call `index`. The first one has id, type and name; `arguments` add up."""

    index: int
    function: ChunkFunction
    id: str | None = None
    type: str | None = None


class ChunkDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ChunkToolCall] | None = None
    images: list[MessageImage] | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int
    delta: ChunkDelta
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk of a streamed answer. If usage was requested, the last one has it and no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | msgspec.UnsetType | None = msgspec.UNSET


class Capabilities(msgspec.Struct, frozen=True):
    """What a model takes, as far as is known."""

    tools: bool
    # Whether an interrupted answer can be continued where it ended.
    continuation: bool
    streaming: bool = True


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model. `created`: when it was added here. `context_length`: in tokens; null: unknown."""

    id: str
    owned_by: str
    object: Literal["model"] = "model"
    created: int
    context_length: int | None = None
    max_output_tokens: int | None = None
    capabilities: Capabilities


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


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(CompletionRequest)
encode = msgspec.json.Encoder().encode
