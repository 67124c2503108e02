"""Limits of keys, and call-backs: when they are due, who takes them, when they are given up."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chat.errors import RequestRefused
from chat.models import ApiKey, Callback, Conversation, Generation, Receiver
from chat.models.generation import ApiRequest

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


def test_a_key_has_so_many_answers_at_once(key, model, settings):
    settings.RUNNING_PER_KEY = 1
    accepted = ask(key, model, "one")
    assert refusal(lambda: ask(key, model, "two")) == "too_many_running"
    assert ask(key, model, "one").is_repeat
    key.running_max = 2
    ask(key, model, "three")
    Generation.objects.filter(pk=accepted.generation_id).update(status="completed")
    ask(key, model, "four")


def test_a_persons_keys_have_so_many_together(key, user, model, settings):
    settings.API_RUNNING_PER_USER = 1
    ask(key, model, "one")
    other = ApiKey.make(user, "another")[0]
    assert refusal(lambda: ask(other, model, "two")) == "too_many_running"


def test_a_key_asks_so_often_in_a_minute(key, model, settings):
    settings.ASKS_PER_MINUTE_PER_KEY = 1
    ask(key, model, "one")
    assert refusal(lambda: ask(key, model, "two")) == "too_many_asks"
    Generation.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    ask(key, model, "two")


def test_a_call_back_is_due_when_its_answer_is_over_and_taken_once(key, model):
    receiver = Receiver.objects.create(url="https://example.org/done")
    accepted = ask(key, model, "one", receiver=receiver)
    assert not Callback.objects.due().exists()
    Generation.objects.filter(pk=accepted.generation_id).update(status="completed")
    first, second = Callback.objects.due().get(), Callback.objects.due().get()
    assert first.take()
    assert not second.take()
    assert not Callback.objects.due().exists()


def test_a_call_back_that_fails_is_given_up_after_a_day(key, model):
    receiver = Receiver.objects.create(url="https://example.org/done")
    accepted = ask(key, model, "one", receiver=receiver)
    callback = Callback.objects.select_related("generation").get()
    callback.failed("HTTP 500")
    callback.refresh_from_db()
    assert (callback.last_error, callback.given_up_at) == ("HTTP 500", None)
    long_ago = timezone.now() - timedelta(hours=25)
    Generation.objects.filter(pk=accepted.generation_id).update(status="completed", finished_at=long_ago)
    callback = Callback.objects.select_related("generation").get()
    callback.failed("HTTP 500")
    assert not Callback.objects.due().exists()


def test_a_receivers_secret_is_its_own_and_can_be_renewed():
    receiver = Receiver.objects.create(url="https://example.org/done")
    other = Receiver.objects.create(url="https://example.org/other")
    secret = receiver.secret
    assert secret == Receiver.objects.get(pk=receiver.pk).secret != other.secret
    receiver.renew_secret()
    assert receiver.secret != secret


def test_a_persons_programs_do_not_see_what_that_person_says_in_the_chat(key, model):
    Conversation.ask(key.user, "a secret of mine", client_id="mine")
    accepted = ask(key, model, "one")
    assert [each.pk for each in Generation.objects.of_programs(key.user)] == [accepted.generation_id]
