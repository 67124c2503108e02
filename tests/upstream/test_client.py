"""The connections to endpoints: how they are opened, and what is sent and read."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chat.upstream import Client, errors
from chat.upstream.client import ERROR_MAX_BYTES, UpstreamRequest

# Differ between any two requests, or are of the SDK's own options.
OWN_HEADERS = {"content-length", "host", "x-stainless-retry-count", "x-stainless-read-timeout"}


def test_two_threads_that_prepare_at_once_open_one_set_of_connections(monkeypatch):
    opened = []
    both = Barrier(2)

    def new_client(**_options):
        with suppress(BrokenBarrierError):
            both.wait(timeout=0.5)  # broken if the other thread does not get here
        opened.append(object())
        return opened[-1]

    monkeypatch.setattr(openai, "DefaultAioHttpClient", new_client)
    client = Client()
    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(client.prepare) for _ in range(2)]:
            each.result()
    assert len(opened) == 1


async def exchange(answer, talk):
    """Let `talk(client, base_url)` call an endpoint that answers like this; return (its headers, result)."""
    seen = []

    async def respond(request):
        seen.append((request.path, {name.lower(): value for name, value in request.headers.items()}))
        await request.read()
        return answer()

    application = web.Application()
    application.router.add_post("/{path:.*}", respond)
    client = Client()
    async with TestServer(application) as server:
        try:
            result = await talk(client, str(server.make_url("/v1")))
        finally:
            await client.close()
    return seen, result


def test_a_request_has_the_address_and_the_headers_of_the_sdk(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")

    async def talk(client, base_url):
        body = {"model": "m", "messages": []}
        for key in ("sk-1", ""):
            async with client.open(UpstreamRequest(base_url, key, body, 5)) as reads:
                assert b"".join([data async for data in reads]) == b"{}"
            await client.sdk(base_url, key).post("/chat/completions", cast_to=object, body=body)

    seen, _ = asyncio.run(exchange(lambda: web.json_response({}), talk))
    assert {path for path, _headers in seen} == {"/v1/chat/completions"}
    ours, sdks, ours_without_key, sdks_without_key = (
        {name: value for name, value in headers.items() if name not in OWN_HEADERS} for _, headers in seen
    )
    assert ours["authorization"] == "Bearer sk-1"
    assert ours["openai-organization"] == "org-1"
    assert ours == sdks
    assert ours_without_key == sdks_without_key


def test_of_a_huge_error_only_the_beginning_is_read():
    async def talk(client, base_url):
        with pytest.raises(errors.ServerFailed) as refused:
            async with client.open(UpstreamRequest(base_url, "sk-1", {}, 5)):
                pass
        return refused.value

    text = "overload " * ERROR_MAX_BYTES
    _, error = asyncio.run(exchange(lambda: web.Response(status=500, text=text), talk))
    assert error.status == 500
    assert len(str(error)) < len(text)
