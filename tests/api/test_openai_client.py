"""The official openai client, sync and async, against the real server."""

import openai
import pytest
from asgiref.sync import sync_to_async

from tests.support.programs import until


def ask(client, text, model="fake", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_completions_streams_and_models(api):
    api = api()
    client = api.client()
    done = ask(client, "hello [[deltas=20]]", seed=7, max_completion_tokens=50)
    assert done.choices[0].finish_reason == "stop"
    assert done.choices[0].message.content
    assert done.model == "fake"
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done._request_id.startswith("req_")
    assert api.requests()[-1]["model"] == "fake"
    chunks = list(ask(client, "hello [[deltas=20]]", stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == done.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage) == ([], done.usage)
    assert {chunk.model for chunk in chunks} == {"fake"}
    names = [model.id for model in client.models.list()]
    assert {"fake", "fake:second"} <= set(names)
    assert client.models.retrieve("fake:second").owned_by == "environment"
    parsed = client.chat.completions.with_raw_response.create(
        model="fake", messages=[{"role": "user", "content": "raw"}]
    )
    assert parsed.headers["x-generation-id"] == parsed.parse().id.replace("chatcmpl-", "gen-")


def test_reasoning_is_streamed_separately(api):
    chunks = list(ask(api().client(), "think [[reasoning=3]] [[deltas=3]]", stream=True))
    thought = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert any(getattr(delta, "reasoning_content", None) for delta in thought)


def test_its_error_classes(api):
    api = api()
    client = api.client()
    wanted = {
        openai.BadRequestError: lambda: ask(client, "hello", temperature=9),
        openai.AuthenticationError: lambda: ask(api.client(api_key="cs-wrong"), "hello"),
        openai.NotFoundError: lambda: ask(client, "hello", model="nobody"),
        openai.InternalServerError: lambda: ask(client, "hello [[status=500]]"),
        openai.APITimeoutError: lambda: ask(api.client(timeout=1), "hello [[hold=never after=0]]"),
        # The last: the whole endpoint pauses.
        openai.RateLimitError: lambda: ask(client, "hello [[status=429 retry_after=90]]"),
    }
    for kind, call in wanted.items():
        with pytest.raises(kind) as caught:
            call()
        if kind is not openai.APITimeoutError:
            assert caught.value.code
            assert caught.value.body["message"]
            assert caught.value.request_id.startswith("req_")
        if kind is openai.RateLimitError:
            assert 80 < int(caught.value.response.headers["retry-after"]) <= 90


def test_closing_a_stream_early_stops_the_provider(api):
    api = api()
    stream = ask(api.client(), "hello [[hold=gate after=3]]", stream=True)
    next(iter(stream))
    stream.close()
    until(lambda: api.requests()[-1]["client_left"], "the provider to see it", deadline_s=5)


def test_a_client_timeout_stops_the_provider(api):
    api = api()
    ask(api.client(), "The first request of a server takes longer.")
    with pytest.raises(openai.APITimeoutError):
        ask(api.client(timeout=2), "hello [[hold=gate after=3]]")
    until(lambda: api.requests()[-1]["client_left"], "the provider to see it")


async def test_the_async_client(api):
    api = await sync_to_async(api)()
    async with api.async_client() as client:
        done = await ask(client, "hello [[deltas=20]]")
        stream = await ask(client, "hello [[deltas=20]]", stream=True)
        chunks = [chunk async for chunk in stream]
        assert text_of(chunks) == done.choices[0].message.content
        assert [model.id async for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):
            await ask(client, "hello", model="nobody")
