"""Conversations for the views, created without running a model."""

from collections.abc import Callable
from itertools import count

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from chat.models import Conversation, Generation, Message, Model

_numbers = count(1)


@pytest.fixture
def client(user: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(user)


@pytest.fixture
def exchange(user: User, model: Model) -> Callable[..., Message]:
    """Return a function that adds a question and an answer, and returns the answer."""

    def add(
        question: str = "Why?",
        answer: str = "Because.",
        *,
        to: Conversation | None = None,
        owner: User = user,
        status: str = Generation.Status.COMPLETED,
        **fields: object,
    ) -> Message:
        accepted = Conversation.ask(
            owner, question, client_id=f"test-{next(_numbers)}", conversation_id=to.pk if to else None
        )
        message = Message.objects.get(pk=accepted.message_id)
        message.text = answer
        message.save()
        now = timezone.now()
        finished = None if status in Generation.ACTIVE else now
        message.generations.update(
            status=status, started_at=now, first_delta_at=now, finished_at=finished, **fields
        )
        return message

    return add
