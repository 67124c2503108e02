"""Requests of one user that several processes store at the same moment, each on its own connection."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from chat.errors import RequestRefused
from chat.models import ApiKey, Conversation, Generation, Message
from chat.models.api_request import ApiRequest

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8


def at_once(operation):
    """Call `operation` with 0, 1, … in as many threads at the same moment; return results or refusals."""
    barrier = Barrier(THREADS)

    def call(number):
        try:
            barrier.wait(timeout=20)
            return operation(number)
        except RequestRefused as refused:
            return refused.code
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(call, range(THREADS)))


def test_a_message_that_is_sent_to_several_servers_at_once_is_stored_once(user, model):
    for attempt in range(5):
        started = at_once(lambda _n: Conversation.ask(user, "x", client_id=f"same{attempt}"))  # noqa: B023
        assert len({each.generation_id for each in started}) == 1
        assert sorted(each.is_repeat for each in started) == [False] + [True] * (THREADS - 1)
        Generation.objects.update(status="completed")
    assert Message.objects.count() == 2 * 5


def test_a_regeneration_that_is_sent_to_several_servers_at_once_is_stored_once(user, model):
    first = Conversation.ask(user, "x", client_id="first")
    Generation.objects.update(status="completed")
    again = at_once(lambda _n: Conversation.regenerate(user, first.user_message_id, client_id="again"))
    assert len({each.generation_id for each in again}) == 1
    assert Generation.objects.count() == 2


def test_servers_do_not_exceed_the_limit_of_running_answers_together(user, model, settings):
    settings.RUNNING_PER_USER = 3
    outcomes = at_once(lambda n: Conversation.ask(user, "x", client_id=f"id{n}"))
    assert outcomes.count("too_many_running") == THREADS - 3
    assert Generation.objects.active().count() == 3


def test_servers_do_not_exceed_the_limit_of_messages_per_minute_together(user, model, settings):
    settings.ASKS_PER_MINUTE, settings.RUNNING_PER_USER = 3, THREADS
    outcomes = at_once(lambda n: Conversation.ask(user, "x", client_id=f"id{n}"))
    assert outcomes.count("too_many_asks") == THREADS - 3
    assert Generation.objects.count() == 3


def test_only_one_of_several_messages_to_one_conversation_is_stored_at_a_time(user, model):
    first = Conversation.ask(user, "x", client_id="first")
    Generation.objects.update(status="completed")
    outcomes = at_once(
        lambda n: Conversation.ask(user, f"x{n}", client_id=f"id{n}", conversation_id=first.conversation_id)
    )
    assert outcomes.count("busy") == THREADS - 1
    assert Generation.objects.active().count() == 1


def test_servers_do_not_exceed_the_limit_of_an_api_key_together(user, model):
    key, _secret = ApiKey.make(user, "program")
    ApiKey.objects.update(running_max=3)
    key.refresh_from_db()
    request = ApiRequest([{"role": "user", "content": "x"}])
    outcomes = at_once(
        lambda n: Conversation.ask_once(
            user, request, model=model, client_id=f"id{n}", source="api", api_key=key
        )
    )
    assert outcomes.count("too_many_running") == THREADS - 3
    assert Generation.objects.active().count() == 3
