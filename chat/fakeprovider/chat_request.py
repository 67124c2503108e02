"""Parse a chat completion request: its question, prefill and options."""

from dataclasses import dataclass, field
from typing import Any

from chat.fakeprovider import directives


class InvalidChatRequest(ValueError):
    """The request's body is not a chat completion request."""


@dataclass(frozen=True)
class ChatRequest:
    """The parts of a chat completion request that the fake provider uses; `question`: last user message."""

    model: str
    question: str
    prompt_words: int
    # Whether users' and assistants' turns alternate, beginning with a user's.
    alternates: bool
    is_streamed: bool
    wants_usage: bool
    max_deltas: int | None
    prefill: str | None
    prefill_form: str
    # The fields of the body; and `system` and `image`, if the messages have them.
    fields: frozenset[str] = frozenset()
    # All of it.
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def plain_question(self) -> str:
        """The question without directives, from which the answer is generated."""
        return directives.without(self.question)


def parse(body: Any) -> ChatRequest:
    """Return the request in a JSON body. Raises InvalidChatRequest."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise InvalidChatRequest("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidChatRequest("messages should be a list of objects")
    turns = [(str(message.get("role", "")), _text_of(message.get("content"))) for message in messages]
    is_prefilled = bool(turns) and turns[-1][0] == "assistant"
    options = body.get("stream_options")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return ChatRequest(
        model=body["model"],
        question=next((text for role, text in reversed(turns) if role == "user"), ""),
        alternates=_alternates([role for role, _ in turns]),
        prompt_words=sum(len(text.split()) for _, text in turns),
        is_streamed=bool(body.get("stream")),
        wants_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        max_deltas=limit if isinstance(limit, int) else None,
        prefill=turns[-1][1] if is_prefilled else None,
        prefill_form=_prefill_form(body, messages[-1]) if is_prefilled else "",
        fields=frozenset(body) | {role for role, _ in turns if role == "system"} | _images_in(messages),
        body=body,
    )


def _images_in(messages: list[dict[str, Any]]) -> set[str]:
    lists = (content for message in messages if isinstance(content := message.get("content"), list))
    parts = (part for content in lists for part in content if isinstance(part, dict))
    return {"image" for part in parts if part.get("type") == "image_url"}


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _alternates(roles: list[str]) -> bool:
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    return all(role == ("assistant" if n % 2 else "user") for n, role in enumerate(spoken))


def _prefill_form(body: dict[str, Any], last: dict[str, Any]) -> str:
    if body.get("continue_final_message") is True and body.get("add_generation_prompt") is False:
        return "vllm"
    return "prefix" if last.get("prefix") is True else "plain"
