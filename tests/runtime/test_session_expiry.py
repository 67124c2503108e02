"""Open connections end with their session or key, and closing one never delays a tick."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from chat.models import ApiKey
from chat.models.session import SessionCheck, valid_sessions
from chat.runtime import session_expiry as expiry_module
from chat.runtime.connections import OpenSocket, OpenStream
from chat.runtime.session_expiry import CHECK_EVERY_TICKS
from tests.support.runtime import new_runtime, open_runtime

pytestmark = pytest.mark.django_db


def signed_in(user):
    """Sign a user in; return the session key."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


async def tick_until_checked(runtime):
    for _n in range(CHECK_EVERY_TICKS):
        await runtime.heartbeat.tick()


async def test_a_socket_that_cannot_be_closed_does_not_delay_a_tick(user, monkeypatch):
    monkeypatch.setattr(expiry_module, "CLOSE_TIMEOUT_S", 0.01)
    closing = []

    async def never_closes():
        closing.append(1)
        await asyncio.Event().wait()

    async with open_runtime() as runtime:
        for _n in range(15):
            runtime.connections.sockets.add(OpenSocket(user.pk, "ended", never_closes))
        await tick_until_checked(runtime)  # would never return if it waited for a socket
        assert runtime.connections.sockets == set()
        await runtime.background.wait()
        assert len(closing) == 15


async def test_a_socket_of_a_valid_session_stays_open(user):
    key = await sync_to_async(signed_in)(user)

    async def close():
        raise AssertionError

    async with open_runtime() as runtime:
        socket = OpenSocket(user.pk, key, close)
        runtime.connections.sockets.add(socket)
        await tick_until_checked(runtime)
        assert runtime.connections.sockets == {socket}


async def test_a_stream_ends_with_its_key(user):
    key, _secret = await sync_to_async(ApiKey.make)(user, "nightly")
    codes = []
    runtime = new_runtime()
    runtime.connections.streams.add(OpenStream(key.pk, codes.append))
    await tick_until_checked(runtime)
    assert codes == []
    await sync_to_async(key.revoke)()
    await tick_until_checked(runtime)
    assert codes == ["invalid_api_key"]


async def test_streams_end_once_a_drain_is_over():
    codes = []
    async with open_runtime() as runtime:
        runtime.connections.streams.add(OpenStream(1, codes.append))
        await runtime.drain(0)
        await runtime.heartbeat.tick()
    assert codes == ["restarting"]


def test_a_session_is_decoded_once_while_nothing_changes(user, monkeypatch, django_assert_num_queries):
    key = signed_in(user)
    decoded = []
    decode = Session.get_decoded
    monkeypatch.setattr(Session, "get_decoded", lambda self: decoded.append(1) or decode(self))
    check = SessionCheck()
    for _n in range(3):
        assert check.valid({(key, user.pk)}) == {(key, user.pk)}
    assert len(decoded) == 1
    with django_assert_num_queries(1):
        check.valid({(key, user.pk)})


@pytest.mark.parametrize("ending", ["signed out", "expired", "disabled", "another password"])
def test_a_session_that_has_ended_is_found_after_it_was_valid(user, ending):
    key = signed_in(user)
    check = SessionCheck()
    assert check.valid({(key, user.pk)})
    if ending == "signed out":
        Session.objects.all().delete()
    elif ending == "expired":
        Session.objects.update(expire_date=timezone.now())
    else:
        user.is_active = ending != "disabled"
        if ending == "another password":
            user.set_password("something else")
        user.save()
    assert check.valid({(key, user.pk)}) == set()


def test_a_session_of_another_user_is_not_valid(user, other_user):
    key = signed_in(user)
    assert valid_sessions({(key, other_user.pk), ("none", user.pk)}) == set()
