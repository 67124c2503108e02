"""Requests of programs, in the format of the OpenAI API."""

from __future__ import annotations

from typing import Any

import msgspec

from chat.models.large_request import LargeMessages
from chat.text import clean_json, last_user_text


class ApiRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request of a program. It is sent to the model unchanged, instead of the messages of a conversation.

    `messages` and `parameters` are those of the OpenAI API. A limit on the answer's tokens is `max_tokens`
    here, and is sent under the name that the endpoint knows. `fallbacks`: ids of the models that may answer
    instead, in order; None: the fallbacks of the model's row.
    """

    messages: list[dict[str, Any]]
    parameters: dict[str, Any] = {}
    fallbacks: list[int] | None = None
    # Facts about large messages, which are stored in slices; `messages` is empty then.
    large: LargeMessages | None = None

    def cleaned(self) -> ApiRequest:
        """Return a copy in which every text is cleaned."""
        return ApiRequest(clean_json(self.messages), clean_json(self.parameters), self.fallbacks, self.large)

    @property
    def text(self) -> str:
        """The text of the last user message."""
        return last_user_text(self.messages)
