"""Forwarded headers are believed only from trusted proxies."""

import asyncio
import ipaddress

import pytest
from django.core.asgi import get_asgi_application

from chat.models.sign_in import SigninFailure
from chatsite.forwarded import Forwarded

TRUSTED = [ipaddress.ip_network(each) for each in ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")]


def scope_of(peer, *lines, kind="http", scheme="http"):
    headers = [tuple(part.encode() for part in line.split(": ")) for line in lines]
    return {"type": kind, "scheme": scheme, "client": peer and [peer, 5000], "headers": headers}


async def seen(scope, trusted=TRUSTED):
    found = {}

    async def application(scope, receive, send):
        found.update(scope)

    await Forwarded(application, trusted)(scope, None, None)
    return found["client"] and found["client"][0], found["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "2001:db9::7", "2001:db9::7"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),  # the client can send the left one itself
        ("127.0.0.1", "198.51.100.1, 192.0.2.7, 10.1.1.1", "192.0.2.7"),
        ("127.0.0.1", "10.2.2.2, 10.1.1.1", "10.2.2.2"),  # a client in our own network
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "::ffff:10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "192.0.2.7, unknown, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("192.0.2.9", "192.0.2.7", "192.0.2.9"),
        ("192.0.2.9", "127.0.0.1", "192.0.2.9"),
        (None, "192.0.2.7", None),
    ],
)
async def test_the_client_is_the_last_hop_that_is_not_a_trusted_proxy(peer, forwarded, client):
    assert await seen(scope_of(peer, f"x-forwarded-for: {forwarded}")) == (client, "http")


async def test_a_list_may_come_in_several_lines():
    lines = ("x-forwarded-for: 198.51.100.1", "x-forwarded-for: 192.0.2.7, 10.1.1.1")
    assert (await seen(scope_of("127.0.0.1", *lines)))[0] == "192.0.2.7"


async def test_no_proxy_is_trusted_by_default():
    scope = scope_of("127.0.0.1", "x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https")
    assert await seen(scope, trusted=[]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("peer", "kind", "scheme", "sent", "expected"),
    [
        ("127.0.0.1", "http", "http", "https", "https"),
        ("127.0.0.1", "http", "http", "HTTPS", "https"),
        ("127.0.0.1", "websocket", "ws", "https", "wss"),
        ("127.0.0.1", "http", "https", "http", "http"),
        ("127.0.0.1", "http", "http", "https, http", "http"),  # two values
        ("127.0.0.1", "http", "http", "gopher", "http"),
        ("192.0.2.9", "http", "http", "https", "http"),
    ],
)
async def test_the_scheme_is_the_one_that_a_trusted_proxy_sends(peer, kind, scheme, sent, expected):
    scope = scope_of(peer, f"x-forwarded-proto: {sent}", kind=kind, scheme=scheme)
    assert (await seen(scope))[1] == expected


async def fail_to_sign_in(peer, forwarded):
    body = b"username=ada&password=wrong"
    scope = scope_of(peer, f"x-forwarded-for: {forwarded}", "host: localhost") | {
        "method": "POST",
        "path": "/signin/",
        "query_string": b"",
        "http_version": "1.1",
    }
    scope["headers"] += [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"cookie", b"csrftoken=" + b"a" * 32),
        (b"x-csrftoken", b"a" * 32),
    ]
    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": body})
    statuses = []

    async def send(message):
        statuses.append(message.get("status"))

    await Forwarded(get_asgi_application(), TRUSTED)(scope, messages.get, send)
    return statuses[0]


@pytest.mark.parametrize(("peer", "counted"), [("127.0.0.1", "192.0.2.7"), ("192.0.2.9", "192.0.2.9")])
async def test_failed_sign_ins_are_counted_by_the_real_address(db, peer, counted):
    assert await fail_to_sign_in(peer, "192.0.2.7") == 200
    assert [row.address async for row in SigninFailure.objects.all()] == [counted]
