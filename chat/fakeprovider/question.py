"""One request for an answer, read: what is asked, what was already said, how it wants the answer."""

from dataclasses import dataclass
from typing import Any

from chat.fakeprovider import directives


class BadRequest(ValueError):
    """The request's body is not a chat completion request."""


@dataclass(frozen=True)
class Question:
    """What the fake provider needs to know of a chat completion request."""

    model: str
    text: str
    prompt_words: int
    is_streamed: bool
    wants_usage: bool
    max_deltas: int | None
    prefill: str | None
    prefill_form: str

    @property
    def subject(self) -> str:
        """The question without directives: what the answer is made from."""
        return directives.without(self.text)


def read(body: Any) -> Question:
    """Return the question in a request's JSON body. Raises BadRequest."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise BadRequest("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest("messages should be a list of objects")
    said = [(str(message.get("role", "")), _text_of(message.get("content"))) for message in messages]
    is_prefilled = bool(said) and said[-1][0] == "assistant"
    options = body.get("stream_options")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Question(
        model=body["model"],
        text=next((text for role, text in reversed(said) if role == "user"), ""),
        prompt_words=sum(len(text.split()) for _, text in said),
        is_streamed=bool(body.get("stream")),
        wants_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        max_deltas=limit if isinstance(limit, int) else None,
        prefill=said[-1][1] if is_prefilled else None,
        prefill_form=_form_of(body, messages[-1]) if is_prefilled else "",
    )


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _form_of(body: dict[str, Any], last: dict[str, Any]) -> str:
    if body.get("continue_final_message") is True and body.get("add_generation_prompt") is False:
        return "vllm"
    return "prefix" if last.get("prefix") is True else "plain"
