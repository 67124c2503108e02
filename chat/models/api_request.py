"""Requests of programs, in the format of the OpenAI API."""

from __future__ import annotations

from typing import Any

import msgspec

from chat.models.large_request import LargeMessages
from chat.text import clean_json, last_user_text

# Where a file was in a message, its address is this and a reference.
ATTACHMENT_ADDRESS = "attachment:"


class ResponseRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request for a response says beside what the model is sent.

    The last `own_messages` of the messages were sent with this request; those before them come from
    `previous`, the id of the response that it continues. `echo`: parameters that a response returns.
    """

    own_messages: int
    # Whether the first message is this request's instructions, which the next response does not inherit.
    has_instructions: bool = False
    previous: str | None = None
    # Whether it can be read, continued and deleted later.
    is_stored: bool = True
    is_background: bool = False
    echo: dict[str, Any] = {}


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
    # Parameters that are not known here. Each endpoint's row says whether it gets them.
    extras: dict[str, Any] = {}
    # The ids of the attachments that stand for the files of the messages, by the reference in its address.
    attachments: dict[str, str] = {}
    # Null for chat completions.
    response: ResponseRequest | None = None

    def cleaned(self) -> ApiRequest:
        """Return a copy in which every text is cleaned."""
        return msgspec.structs.replace(
            self,
            messages=clean_json(self.messages),
            parameters=clean_json(self.parameters),
            extras=clean_json(self.extras),
        )

    @property
    def has_tools(self) -> bool:
        """Whether the model may call tools."""
        return bool(self.parameters.get("tools"))

    @property
    def has_choices(self) -> bool:
        """Whether the program gets all choices, with log probabilities. Such an answer is not recovered."""
        return self.parameters.get("n", 1) > 1 or bool(self.parameters.get("logprobs"))

    @property
    def text(self) -> str:
        """The text of the last user message."""
        return last_user_text(self.messages)


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(ApiRequest)
