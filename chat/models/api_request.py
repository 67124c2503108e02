"""The request of a program, in the words of the OpenAI API."""

from __future__ import annotations

from typing import Any

import msgspec

from chat.text import clean_json


class ApiRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a program asked: sent to the model unchanged, in place of a conversation's newest turns.

    `messages` and `parameters` are those of the OpenAI API. A limit on the answer's tokens is `max_tokens`
    here, and is sent under the name that the endpoint knows. `fallbacks`: ids of the models that may answer
    instead, in order; None: the fallbacks of the model's row.
    """

    messages: list[dict[str, Any]]
    parameters: dict[str, Any] = {}
    fallbacks: list[int] | None = None

    def cleaned(self) -> ApiRequest:
        """Return a copy in which every text is cleaned."""
        return ApiRequest(clean_json(self.messages), clean_json(self.parameters), self.fallbacks)

    @property
    def text(self) -> str:
        """The text of the last user message."""
        user_messages = (message for message in reversed(self.messages) if message.get("role") == "user")
        return text_of(next(user_messages, {}))


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message of the API, without images and other parts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
