"""API keys: their limits, and what a user's programs can see."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chat.errors import RequestRefused
from chat.models import ApiKey, Conversation, EmbeddingCall, Erasure, Generation
from chat.models.api_request import ApiRequest
from chat.runtime import cleanup

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(user):
    return ApiKey.make(user, "tests")[0]


def ask(key, model, client_id, **more):
    request = ApiRequest([{"role": "user", "content": "hello"}])
    return Conversation.ask_once(
        key.user, request, model=model, client_id=client_id, source="api", api_key=key, **more
    )


def refusal(verb):
    with pytest.raises(RequestRefused) as caught:
        verb()
    assert caught.value.retry_after_s >= 1
    return caught.value.code


def test_a_key_has_a_limit_of_concurrent_requests(key, model, settings):
    settings.RUNNING_PER_KEY, settings.API_WAITING_PER_KEY = 1, 0
    accepted = ask(key, model, "one")
    assert refusal(lambda: ask(key, model, "two")) == "too_many_running"
    assert ask(key, model, "one").is_repeat
    key.running_max = 2
    ask(key, model, "three")
    Generation.objects.filter(pk=accepted.generation_id).update(
        status="completed", finished_at=timezone.now()
    )
    ask(key, model, "four")


def test_the_keys_of_a_user_have_a_combined_limit(key, user, model, settings):
    settings.API_RUNNING_PER_USER, settings.API_WAITING_PER_KEY = 1, 0
    ask(key, model, "one")
    other = ApiKey.make(user, "another")[0]
    assert refusal(lambda: ask(other, model, "two")) == "too_many_running"


def test_a_key_has_a_limit_of_requests_per_minute(key, model, settings):
    settings.ASKS_PER_MINUTE_PER_KEY = 1
    ask(key, model, "one")
    assert refusal(lambda: ask(key, model, "two")) == "too_many_asks"
    Generation.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    ask(key, model, "two")


def test_api_keys_do_not_give_access_to_chats(key, model):
    Conversation.ask(key.user, "a secret of mine", client_id="mine")
    accepted = ask(key, model, "one")
    assert [each.pk for each in Generation.objects.of_programs(key.user)] == [accepted.generation_id]


def test_embedding_calls_are_deleted_when_they_are_old_and_with_their_user(key, user):
    def call(days):
        created_at = timezone.now() - timedelta(days=days)
        values = {"model_name": "m", "endpoint_name": "e", "inputs": 1, "duration_s": 1.0}
        return EmbeddingCall.objects.create(user=user, api_key=key, created_at=created_at, **values)

    kept, _old = call(119), call(121)
    assert (EmbeddingCall.delete_old(10), EmbeddingCall.objects.get()) == (1, kept)
    Erasure.objects.request_users([user.pk])
    assert cleanup.erase_users(100) == 2
    assert not EmbeddingCall.objects.exists()
