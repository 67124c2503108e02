"""Staff with different permissions, and a conversation of a user to review."""

import itertools

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from chat.models import Conversation, Message

_numbers = itertools.count(1)


def staff_with(name, *codenames):
    """Return a user with access to the admin and these permissions."""
    person = User.objects.create_user(name, password="x", is_staff=True)
    permissions = Permission.objects.filter(codename__in=codenames, content_type__app_label="chat")
    assert permissions.count() == len(codenames)
    person.user_permissions.set(permissions)
    return person


def converse(user, model, *texts, **fields):
    """Store a conversation whose messages alternate between the user and the model."""
    conversation = Conversation.objects.create(user=user, model=model, **({"title": "A talk"} | fields))
    parent = None
    for number, text in enumerate(texts or ("a question", "an answer")):
        if number % 2:
            message = conversation.messages.create(
                role=Message.Role.ASSISTANT, parent=parent, text=text, html=f"<p>{text}</p>"
            )
            finish(message, user, model)
        else:
            message = conversation.messages.create(role=Message.Role.USER, parent=parent, text=text)
        parent = message
    conversation.leaf = parent
    conversation.save()
    return conversation


def finish(message, user, model, **fields):
    """Store a completed generation of an answer, with one attempt."""
    generation = message.generations.create(
        user=user,
        client_id=f"review-{next(_numbers)}",
        model=model,
        model_name=model.name,
        **({"status": "completed", "started_at": timezone.now(), "finished_at": timezone.now()} | fields),
    )
    generation.attempts.create(
        number=1, model_name=model.name, outcome="completed", finished_at=timezone.now()
    )
    return generation


@pytest.fixture
def conversation(user, model):
    return converse(user, model, "What is a heap?", "A *heap* is a tree.")


@pytest.fixture
def reviewer(db):
    """Return a member of the group that comes with the program."""
    person = User.objects.create_user("vera", password="x", is_staff=True)
    person.groups.add(Group.objects.get(name="Reviewers"))
    return person


@pytest.fixture
def desk(client_of, reviewer):
    return client_of(reviewer)


def streamed(response):
    """Return the body of a response that is streamed by an async generator."""

    async def collect():
        return [part async for part in response.streaming_content]

    return b"".join(async_to_sync(collect)())
