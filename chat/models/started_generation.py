"""The result of `Conversation.ask` and its siblings."""

from __future__ import annotations

import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartedGeneration:
    """The rows that `ask`, `regenerate`, `resume` or `ask_once` stored.

    `is_repeat`: an earlier call with the same client id stored them. `is_hidden`: the conversation belongs to
    a program and no page shows it. `is_new_conversation`: this call created the conversation.
    """

    conversation_id: uuid.UUID
    generation_id: int
    message_id: int
    user_message_id: int
    is_repeat: bool = False
    is_hidden: bool = False
    is_new_conversation: bool = False
