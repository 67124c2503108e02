"""Limits and client ids while two servers store requests of one user at the same time.

Each server is a writer: a thread with a database connection of its own.
"""

import asyncio
from collections import Counter
from functools import partial
from uuid import uuid4

import pytest
from django.utils import timezone

from chat.errors import RequestRefused
from chat.event_log.writer import ThreadWriter
from chat.generation.start import store
from chat.models import ApiKey, Conversation, Generation, Message
from chat.models.api_request import ApiRequest

pytestmark = pytest.mark.django_db(transaction=True)

REQUEST = ApiRequest([{"role": "user", "content": "hello"}])
# A race that is lost only sometimes must not pass by luck.
ROUNDS = 50
ROUNDS_OF_TEN = 10


@pytest.fixture
def servers():
    writers = [ThreadWriter(), ThreadWriter()]
    yield writers
    for writer in writers:
        writer.close()


@pytest.fixture(autouse=True)
def _without_limits(settings):
    """Set every limit so high that a test meets only the one that it sets."""
    settings.RUNNING_PER_USER = settings.ASKS_PER_MINUTE = 10_000
    settings.RUNNING_PER_KEY = settings.API_RUNNING_PER_USER = settings.ASKS_PER_MINUTE_PER_KEY = 10_000


def ask(user, text="hello", *, client_id=None, **options):
    return Conversation.ask(user, text, client_id=client_id or uuid4().hex, **options)


def ask_once(key, model):
    return Conversation.ask_once(
        key.user, REQUEST, model=model, client_id=uuid4().hex, source="api", api_key=key
    )


def at_once(servers, operations, *, user_id=None):
    """Run the operations on the servers in turn, all at the same time.

    Return what they stored, and how many were refused with which code.
    """
    futures = [
        servers[number % 2].submit(operation, user_id=user_id) for number, operation in enumerate(operations)
    ]
    stored, refused = [], Counter()
    for future in futures:
        try:
            stored.append(future.result(timeout=30))
        except RequestRefused as refusal:
            refused[refusal.code] += 1
    return stored, refused


@pytest.mark.parametrize("is_user_named", [True, False])
def test_one_client_id_on_two_servers_is_stored_once(user, model, servers, is_user_named):
    for number in range(ROUNDS):
        stored, _refused = at_once(
            servers,
            [partial(ask, user, client_id=f"id{number}")] * 2,
            user_id=user.pk if is_user_named else None,
        )
        assert len({each.generation_id for each in stored}) == 1
        assert sorted(each.is_repeat for each in stored) == [False, True]
    assert Generation.objects.count() == ROUNDS


async def test_one_client_id_is_stored_once_through_the_way_of_all_entry_points(user, model, servers):
    for number in range(ROUNDS):
        operation = partial(ask, user, client_id=f"id{number}")
        first, second = await asyncio.gather(*(store(writer, user, operation) for writer in servers))
        assert first.generation_id == second.generation_id
        assert {first.is_repeat, second.is_repeat} == {False, True}


async def test_a_client_id_that_another_server_stored_meanwhile_is_found_at_the_second_try(
    user, model, servers
):
    """The constraint alone is enough: here the check for a repeat comes before the other server's commit."""
    first = await store(servers[0], user, partial(ask, user, client_id="same"))
    tries = []

    def ask_without_a_check_the_first_time():
        tries.append(None)
        if len(tries) == 1:
            message = Message.objects.get(pk=first.message_id)
            final = {"status": "completed", "finished_at": timezone.now()}
            Generation.objects.create(message=message, user=user, client_id="same", **final)
        return ask(user, client_id="same")

    found = await store(servers[1], user, ask_without_a_check_the_first_time)
    assert (found.generation_id, found.is_repeat, len(tries)) == (first.generation_id, True, 2)


def test_ten_messages_at_once_on_two_servers_do_not_exceed_the_limit(
    django_user_model, model, servers, settings
):
    settings.RUNNING_PER_USER = 3
    for number in range(ROUNDS_OF_TEN):
        user = django_user_model.objects.create(username=f"user{number}")
        stored, refused = at_once(servers, [partial(ask, user)] * 10)
        assert (len(stored), refused) == (3, {"too_many_running": 7})
        assert Generation.objects.filter(user=user).count() == 3


def test_ten_messages_a_minute_on_two_servers_do_not_exceed_the_limit(
    django_user_model, model, servers, settings
):
    settings.ASKS_PER_MINUTE = 3
    for number in range(ROUNDS_OF_TEN):
        user = django_user_model.objects.create(username=f"user{number}")
        stored, refused = at_once(servers, [partial(ask, user)] * 10)
        assert (len(stored), refused) == (3, {"too_many_asks": 7})


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("RUNNING_PER_KEY", "too_many_running"),
        ("API_RUNNING_PER_USER", "too_many_running"),
        ("ASKS_PER_MINUTE_PER_KEY", "too_many_asks"),
    ],
)
def test_ten_requests_of_a_key_on_two_servers_do_not_exceed_its_limits(
    django_user_model, model, servers, settings, limit, code
):
    setattr(settings, limit, 3)
    settings.API_WAITING_PER_KEY = 0
    for number in range(ROUNDS_OF_TEN):
        user = django_user_model.objects.create(username=f"user{number}")
        key, _secret = ApiKey.make(user, "tests")
        stored, refused = at_once(servers, [partial(ask_once, key, model)] * 10)
        assert (len(stored), refused) == (3, {code: 7})


def test_two_keys_of_a_user_do_not_exceed_their_combined_limit(django_user_model, model, servers, settings):
    settings.API_RUNNING_PER_USER, settings.API_WAITING_PER_KEY = 3, 0
    for number in range(ROUNDS_OF_TEN):
        user = django_user_model.objects.create(username=f"user{number}")
        keys = [ApiKey.make(user, name)[0] for name in ("one", "two")]
        # One key for each server.
        stored, refused = at_once(servers, [partial(ask_once, key, model) for key in keys * 5])
        assert (len(stored), refused) == (3, {"too_many_running": 7})


def test_a_user_does_not_get_more_api_keys_than_the_limit(django_user_model, servers, monkeypatch):
    monkeypatch.setattr(ApiKey, "PER_USER", 3)
    for number in range(ROUNDS_OF_TEN):
        user = django_user_model.objects.create(username=f"user{number}")
        stored, refused = at_once(servers, [partial(ApiKey.make, user, "tests")] * 10)
        assert (len(stored), refused) == (3, {"too_many_keys": 7})


def test_of_two_messages_after_the_same_answer_one_is_refused(user, model, servers):
    first = ask(user)
    for number in range(ROUNDS):
        Generation.objects.update(status="completed", finished_at=timezone.now())
        follow_up = partial(ask, user, f"message {number}", conversation_id=first.conversation_id)
        stored, refused = at_once(servers, [follow_up] * 2)
        assert (len(stored), refused) == (1, {"busy": 1})


def test_an_answer_is_continued_once_however_many_servers_are_asked_to(user, model, servers):
    first = ask(user)
    Message.objects.filter(pk=first.message_id).update(text="half")
    for number in range(ROUNDS):
        Generation.objects.update(status="stopped", finished_at=timezone.now())
        resumes = [
            partial(Conversation.resume, user, first.message_id, client_id=f"{number}-{server}")
            for server in range(2)
        ]
        stored, refused = at_once(servers, resumes)
        assert (len(stored), refused) == (1, {"busy": 1})
