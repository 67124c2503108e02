"""What the verbs that ask for an answer return."""

from __future__ import annotations

import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartedGeneration:
    """The rows that `ask`, `regenerate`, `resume` or `ask_once` stored.

    `is_repeat`: an earlier call with the same client id stored them. `is_hidden`: the conversation is a
    program's and no page shows it. `is_new_conversation`: it was created by this call.
    """

    conversation_id: uuid.UUID
    generation_id: int
    message_id: int
    user_message_id: int
    is_repeat: bool = False
    is_hidden: bool = False
    is_new_conversation: bool = False
