"""Deleting users and conversations: any number of messages, in slices, with their running answers stopped."""

from datetime import timedelta
from itertools import pairwise

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from chat.event_log.writer import InlineWriter
from chat.models import (
    ApiKey,
    Attempt,
    Conversation,
    Erasure,
    Generation,
    LargeRequest,
    Message,
    Model,
    RequestSlice,
    SigninLink,
)
from chat.runtime import cleanup
from tests.support.runtime import running_generation

pytestmark = pytest.mark.django_db

DEPTH = 3_000


@pytest.fixture
def desk(client_of, staff):
    return client_of(staff)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(cleanup, "PAUSE_FACTOR", 0)


def chain(user: User, model: Model, length: int = DEPTH) -> Conversation:
    """Store a conversation of `length` messages, each the parent of the next."""
    conversation = Conversation.objects.create(user=user, model=model, title="long")
    messages = [
        Message(conversation=conversation, role="assistant" if n % 2 else "user", text=f"{n}")
        for n in range(length)
    ]
    messages = Message.objects.bulk_create(messages)
    for parent, message in pairwise(messages):
        message.parent = parent
    Message.objects.bulk_update(messages, ["parent"], batch_size=200)
    generations = Generation.objects.bulk_create(
        Generation(
            message=message,
            user=user,
            client_id=f"{conversation.pk.hex}{message.pk}",
            status="completed",
            finished_at=timezone.now(),
        )
        for message in messages[1::2]
    )
    Attempt.objects.bulk_create(Attempt(generation=generation, number=1) for generation in generations)
    Conversation.objects.filter(pk=conversation.pk).update(leaf=messages[-1])
    return conversation


def clean_up() -> None:
    async_to_sync(cleanup.Cleanup().run)(InlineWriter())


def delete(desk, name, pk):
    return desk.post(reverse(f"admin:{name}_delete", args=[pk]), {"post": "yes"}, follow=True)


def delete_selected(desk, name, *pks):
    data = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    return desk.post(reverse(f"admin:{name}_changelist"), data, follow=True)


@pytest.mark.parametrize("how", [delete, delete_selected])
def test_a_user_with_a_very_long_conversation_is_erased_without_a_rest(desk, user, other_user, model, how):
    conversation = chain(user, model)
    kept = chain(other_user, model, 4)
    ApiKey.objects.create(user=user, name="k", prefix="cs-x", digest="d")
    SigninLink.make(user.pk)
    large = LargeRequest.objects.create(generation=conversation.messages.last().generations.first())
    RequestSlice.objects.create(large_request=large, number=0, data=b"x")
    page = desk.get(reverse("admin:auth_user_delete", args=[user.pk]))
    assert (page.status_code, f"{DEPTH}" in page.content.decode()) == (200, True)

    response = how(desk, "auth_user", user.pk)

    assert response.status_code == 200
    assert "erased in the background" in response.content.decode()
    assert "ada" not in str(get_user_model().objects.values_list("username", "email"))
    clean_up()
    assert not User.objects.filter(pk=user.pk).exists()
    assert list(Conversation.objects.all()) == [kept]
    assert Message.objects.count() == 4
    for table in (ApiKey, SigninLink, LargeRequest, RequestSlice, Erasure):
        assert not table.objects.exists(), table
    assert Generation.objects.count() == Attempt.objects.count() == 2


def test_a_very_long_conversation_is_erased_and_its_user_stays(desk, user, model):
    conversation, kept = chain(user, model), chain(user, model, 4)

    response = delete(desk, "chat_conversation", conversation.pk)

    assert "erased in the background" in response.content.decode()
    assert list(Conversation.objects.of(user)) == [kept]  # at once
    clean_up()
    assert list(Conversation.objects.all()) == [kept]
    assert Message.objects.count() == 4
    assert not Erasure.objects.exists()


def test_what_is_being_erased_is_in_no_list(desk, user, model):
    conversation = chain(user, model, 4)
    Erasure.objects.request_conversations([conversation.pk])
    Erasure.objects.request_users([user.pk])

    for name, pk in (("auth_user", user.pk), ("chat_conversation", conversation.pk)):
        link = reverse(f"admin:{name}_change", args=[pk])
        assert link not in desk.get(reverse(f"admin:{name}_changelist")).content.decode()
        # Django redirects to the index if an object does not exist.
        assert desk.get(link).status_code in {302, 404}


def test_deleting_twice_is_one_erasure(user, model):
    conversation = chain(user, model, 4)
    for _ in range(2):
        Erasure.objects.request_conversations([conversation.pk])
        Erasure.objects.request_users([user.pk])
    assert Erasure.objects.count() == 2
    clean_up()
    assert not User.objects.filter(pk=user.pk).exists()


def test_an_erasure_takes_no_more_rows_than_it_is_told_and_is_continued(user, model):
    chain(user, model, 10)
    Erasure.objects.request_users([user.pk])

    assert cleanup.erase_deleted(4) == 4
    assert Message.objects.count() == 6
    assert cleanup.erase_users(100) == 0  # not before the conversations
    clean_up()
    assert not User.objects.filter(pk=user.pk).exists()


@pytest.mark.parametrize("kind", ["users", "conversations"])
def test_running_answers_are_stopped_before_anything_is_erased(user, model, kind):
    generation = running_generation(user, model)
    if kind == "users":
        Erasure.objects.request_users([user.pk])
    else:
        Erasure.objects.request_conversations([generation.message.conversation_id])
    generation.refresh_from_db()
    assert generation.stop_requested_at is not None

    clean_up()
    assert Message.objects.count() == 1
    Generation.objects.update(status="stopped", finished_at=timezone.now())
    clean_up()
    assert not Message.objects.exists()


def test_an_answer_whose_process_hangs_delays_an_erasure_for_a_while_only(user, model):
    running_generation(user, model)
    Erasure.objects.request_users([user.pk])
    Erasure.objects.update(requested_at=timezone.now() - Erasure.STOP_WITHIN - timedelta(seconds=1))
    clean_up()
    assert not Message.objects.exists()
    assert not User.objects.filter(pk=user.pk).exists()


def test_a_user_who_is_being_erased_can_no_longer_sign_in(client, user):
    Erasure.objects.request_users([user.pk])
    for name in ("ada", User.objects.get(pk=user.pk).username):
        data = {"username": name, "password": "correct horse"}
        assert client.post(reverse("signin"), data).status_code == 200
    assert "_auth_user_id" not in client.session


def test_the_history_of_staff_is_erased_in_slices(staff, user):
    for _ in range(5):
        LogEntry.objects.create(user=staff, action_flag=3, object_repr="x")
    Erasure.objects.request_users([staff.pk])
    assert cleanup.erase_users(2) == 2
    assert LogEntry.objects.count() == 3
    clean_up()
    assert list(User.objects.all()) == [user]


def test_staff_without_superuser_rights_delete_only_users_without_conversations(
    client_of, user, other_user, model
):
    chain(user, model, 2)
    vera = User.objects.create_user("vera", password="x", is_staff=True)
    vera.user_permissions.set(
        Permission.objects.filter(codename__in=["delete_user", "view_user", "change_user", "add_user"])
    )
    assert delete(client_of(vera), "auth_user", user.pk).status_code == 403
    assert delete(client_of(vera), "auth_user", other_user.pk).status_code == 200
    assert list(Erasure.objects.values_list("user", flat=True)) == [other_user.pk]


def test_the_orm_deletes_any_depth_as_well(user, model):
    chain(user, model)
    user.delete()
    assert not Message.objects.exists()


async def test_a_soft_deletion_of_a_long_conversation_is_erased_after_a_day(user, model):
    conversation = await sync_to_async(chain)(user, model)
    await Conversation.objects.filter(pk=conversation.pk).aupdate(
        deleted_at=timezone.now() - timedelta(days=2)
    )
    await cleanup.Cleanup().run(InlineWriter())
    assert not await Message.objects.aexists()
