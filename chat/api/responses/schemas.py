"""Structs of the Responses API's requests and responses. The OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from chat.api.schemas import Count, Penalty, Text

type ItemStatus = Literal["in_progress", "completed", "incomplete"]

INPUT_ITEMS_MAX = 10_000
METADATA_MAX = 16


class TextOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of the answer. `format`: `text`, `json_object`, or `json_schema` with its `schema`."""

    format: dict[str, Any] | None = None
    verbosity: Text | None = None


class ReasoningOptions(msgspec.Struct, frozen=True):
    """`effort` is passed on. `summary` is returned as it was sent: reasoning is shown as it is."""

    effort: Text | None = None
    summary: Text | None = None
    generate_summary: Text | None = None


class ResponseStreamOptions(msgspec.Struct, frozen=True):
    include_obfuscation: bool | None = None


type MetadataValue = Annotated[str, Meta(max_length=512)]
type Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], MetadataValue], Meta(max_length=METADATA_MAX)
]


class ResponseOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All parameters of a request but its input."""

    model: Annotated[str, Meta(min_length=1, max_length=300)]
    instructions: Annotated[str, Meta(max_length=200_000)] | None = None
    previous_response_id: Annotated[str, Meta(max_length=100)] | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    background: bool | None = None
    store: bool | None = None

    # Chatsite's own.
    fallbacks: Annotated[list[str], Meta(max_length=8)] | None = None
    callback_url: Annotated[str, Meta(max_length=500)] | None = None

    # Passed on to the model, under the names of chat completions.
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    service_tier: Text | None = None
    prompt_cache_key: Text | None = None

    # Kept and returned.
    metadata: Metadata | None = None
    user: Text | None = None
    safety_identifier: Text | None = None
    prompt_cache_retention: Text | None = None
    max_tool_calls: Count | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: Annotated[list[str], Meta(max_length=20)] | None = None

    # Accepted only with values that ask for nothing.
    top_logprobs: int | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    context_management: list[Any] | None = None
    moderation: dict[str, Any] | None = None
    background_options: dict[str, Any] | None = None
    prompt_cache_options: dict[str, Any] | None = None
    access_programs: dict[str, Any] | None = None
    image: dict[str, Any] | None = None


class ResponsesRequest(ResponseOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a response. Unknown parameters are rejected.

    `input`: the text of a user message, or items: messages, function calls and their outputs.
    """

    input: str | Annotated[list[dict[str, Any]], Meta(max_length=INPUT_ITEMS_MAX)] | None = None


# Parameter -> what to do instead; "": remove it.
UNSUPPORTED_INSTEAD = {
    "conversation": "Use “previous_response_id”.",
    "prompt": "Send “instructions” and “input”.",
    "context_management": "",
    "moderation": "",
    "background_options": "",
    "prompt_cache_options": "",
    "access_programs": "",
    "image": "",
}
# They change nothing: clients that keep no state ask for encrypted reasoning with every request.
INCLUDE_NEUTRAL = frozenset({"reasoning.encrypted_content"})
# Fields that a response returns as they were sent.
ECHOED = (
    *("instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "metadata"),
    *("max_output_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty"),
    *("service_tier", "prompt_cache_key", "prompt_cache_retention", "user", "safety_identifier"),
    *("max_tool_calls", "truncation"),
)


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    text: str
    annotations: list[Any] = []
    logprobs: list[Any] = []


class OutputRefusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """The model declines to answer."""

    refusal: str


class ReasoningOutput(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """The model's reasoning, which comes before its answer."""

    id: str
    status: ItemStatus
    summary: list[Any] = []
    content: list[ReasoningText]


class MessageOutput(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """The text of the answer."""

    id: str
    role: Literal["assistant"] = "assistant"
    status: ItemStatus
    content: list[OutputText | OutputRefusal]


class FunctionCallItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A function that the model wants the program to run. The result refers to its `call_id`."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class ImageItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image_generation_call"):
    """A picture that the model made, in base64. `failed`: it sent one that could not be kept."""

    id: str
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    result: str | None


type OutputItem = ReasoningOutput | MessageOutput | FunctionCallItem | ImageItem


class IncompleteDetails(msgspec.Struct, frozen=True):
    reason: str


class ResponseError(msgspec.Struct, frozen=True):
    """`code` is one that client libraries know; `type` says more exactly what happened."""

    code: str
    message: str
    type: str


class InputTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    input_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


class ResponseObject(msgspec.Struct, frozen=True, kw_only=True):
    """A response. `output` is empty until `status` is final; `usage` is null until then."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"]
    incomplete_details: IncompleteDetails | None = None
    error: ResponseError | None = None
    model: str
    previous_response_id: str | None = None
    instructions: str | None = None
    output: list[OutputItem]
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    truncation: str = "disabled"
    text: dict[str, Any] = msgspec.field(default_factory=lambda: {"format": {"type": "text"}})
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    reasoning: dict[str, Any] = msgspec.field(default_factory=lambda: {"effort": None, "summary": None})
    usage: ResponseUsage | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    store: bool = True
    background: bool = False
    service_tier: str = "default"
    metadata: dict[str, str] = {}
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    user: str | None = None


class DeletedResponse(msgspec.Struct, frozen=True):
    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class InputItemList(msgspec.Struct, frozen=True, kw_only=True):
    """The items that the request of a response sent."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokenCount(msgspec.Struct, frozen=True):
    """An estimate: providers of chat completions count for themselves."""

    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


class CompactRequest(msgspec.Struct, frozen=True):
    model: str


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(ResponsesRequest)
encode = msgspec.json.Encoder().encode
