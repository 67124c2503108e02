"""What runs in the background, a few lines each, and the verbs by which every door starts it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import AbstractUser

from chat.models.generation import Accepted


def begin(user: AbstractUser, verb: Callable[[], Accepted]) -> Accepted:
    """Run `verb` (a Conversation verb that asks for an answer) in one transaction, then start its answer.

    For sync callers. Whatever `verb` refuses is raised as Refused and leaves nothing behind.
    """
    raise NotImplementedError


def stop(user: AbstractUser, generation_id: int) -> bool:
    """End a person's own generation, wherever it runs; False if there was nothing to end."""
    raise NotImplementedError
