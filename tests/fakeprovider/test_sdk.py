"""The fake provider as the openai SDK sees it: streams, errors, files and batches."""

import asyncio
import json

import openai
import pytest

from chat.fakeprovider import FakeProvider, ThreadedProvider
from tests.support.provider_client import body_for

HELLO = "hello"


@pytest.fixture
def provider():
    with ThreadedProvider.running() as provider:
        yield provider


def client(provider, **options):
    return openai.OpenAI(base_url=provider.base_url, api_key="secret", max_retries=0, **options)


def create(provider, text=HELLO, **more):
    messages = [{"role": "user", "content": text}]
    return client(provider).chat.completions.create(model="fake", messages=messages, **more)


def test_async_provider_serves_in_the_loop_of_the_test():
    async def talk():
        async with (
            FakeProvider() as provider,
            openai.AsyncOpenAI(base_url=provider.base_url, api_key="x", max_retries=0) as api,
        ):
            request = {"model": "fake", "messages": [{"role": "user", "content": "[[hold]] hi"}]}
            answer = asyncio.create_task(api.chat.completions.create(**request))
            await provider.wait_held("hold")
            provider.release("hold")
            text = (await answer).choices[0].message.content
            assert text == provider.text_for("hi")
            assert (await provider.wait_requests(1))[0].outcome == "complete"

    asyncio.run(talk())


def test_sdk_reads_a_healthy_stream(provider):
    with create(provider, stream=True, stream_options={"include_usage": True}) as stream:
        events = list(stream)

    pieces = [choice.delta.content or "" for event in events for choice in event.choices]
    assert "".join(pieces) == provider.text_for(HELLO)
    assert events[-1].usage.completion_tokens == 60


@pytest.mark.parametrize(
    ("directive", "raises"),
    [
        ("status=400", openai.BadRequestError),
        ("status=401", openai.AuthenticationError),
        ("status=403", openai.PermissionDeniedError),
        ("status=404", openai.NotFoundError),
        ("status=409", openai.ConflictError),
        ("status=422", openai.UnprocessableEntityError),
        ("busy", openai.RateLimitError),
        ("overloaded", openai.InternalServerError),
        ("reset_early", openai.APIConnectionError),
        ("close_early", openai.APIConnectionError),
        ("garbage", openai.APIConnectionError),
        ("drop", openai.APIConnectionError),
        ("reset", openai.APIConnectionError),
        ("error", openai.APIError),
        ("event_error", openai.APIError),
        ("malformed", json.JSONDecodeError),
    ],
)
def test_sdk_raises_what_the_fault_is(provider, directive, raises):
    with pytest.raises(raises), create(provider, f"[[{directive}]]", stream=True) as stream:
        list(stream)


def test_sdk_runs_out_of_patience_with_a_silent_endpoint(provider):
    with pytest.raises(openai.APITimeoutError):
        create(provider, "[[silent]]", timeout=0.1)

    assert provider.wait_for(lambda record: record.client_left).status is None


def test_sdk_puts_tool_calls_together(provider):
    calls = create(provider, "[[tool_calls=2]]").choices[0].message.tool_calls

    assert [json.loads(call.function.arguments)["days"] for call in calls] == [1, 2]


def test_sdk_runs_a_batch_to_its_end(provider):
    texts = {"good": HELLO, "bad": "[[status=500]]", "unknown": "[[bogus]]"}
    lines = [
        {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body_for(text, stream=False),
        }
        for name, text in texts.items()
    ]
    api = client(provider)
    file = api.files.create(
        file=("in.jsonl", "\n".join(json.dumps(line) for line in lines).encode()), purpose="batch"
    )
    batch = api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    seen = [batch.status, *(api.batches.retrieve(batch.id).status for _ in range(2))]

    done = api.batches.retrieve(batch.id)
    (row,) = map(json.loads, api.files.content(done.output_file_id).text.splitlines())
    errors = [json.loads(line) for line in api.files.content(done.error_file_id).text.splitlines()]
    assert seen == ["validating", "in_progress", "completed"]
    assert (row["custom_id"], row["response"]["status_code"]) == ("good", 200)
    assert row["response"]["body"]["choices"][0]["message"]["content"] == provider.text_for(HELLO)
    assert [(error["custom_id"], error["response"]["status_code"]) for error in errors] == [
        ("bad", 500),
        ("unknown", 400),
    ]
    assert (done.request_counts.completed, done.request_counts.failed, done.metadata) == (1, 2, {"a": "b"})


@pytest.mark.parametrize(("end", "done", "failed"), [("expired", 1, 1), ("failed", 0, 0)])
def test_sdk_sees_batches_that_do_not_complete(provider, end, done, failed):
    api = client(provider)
    lines = [{"custom_id": str(n), "body": body_for(HELLO, stream=False)} for n in range(2)]
    file = api.files.create(
        file=("in.jsonl", "\n".join(json.dumps(line) for line in lines).encode()), purpose="batch"
    )
    batch = api.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"end": end},
    )

    batch = [api.batches.retrieve(batch.id) for _ in range(2)][-1]

    assert batch.status == end
    assert (batch.request_counts.completed, batch.request_counts.failed) == (done, failed)
    assert bool(batch.errors and batch.errors.data) == (end == "failed")


def test_lines_of_a_batch_fail_expire_come_twice_or_never(provider):
    api = client(provider)
    words = ("failed", "expired", "doubled", "missing")
    lines = [
        {"custom_id": word, "body": body_for(f"[[batch_line={word}]] {HELLO}", stream=False)}
        for word in words
    ]
    file = api.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    batch = api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = [api.batches.retrieve(batch.id) for _ in range(2)][-1]

    files = (batch.output_file_id, batch.error_file_id)
    done, failed = ([json.loads(row) for row in api.files.content(id).text.splitlines()] for id in files)
    assert [row["custom_id"] for row in done] == ["doubled", "doubled"]
    assert [(row["custom_id"], row["error"]["code"]) for row in failed] == [
        ("failed", "server_error"),
        ("expired", "batch_expired"),
    ]


def test_a_line_ends_its_batch(provider):
    api = client(provider)
    line = {"custom_id": "a", "body": body_for("[[batch_end=failed]]", stream=False)}
    file = api.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert [api.batches.retrieve(batch.id).status for _ in range(2)][-1] == "failed"


def test_sdk_cancels_a_batch(provider):
    api = client(provider)
    file = api.files.create(file=("in.jsonl", b""), purpose="batch")
    batch = api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )

    assert api.batches.cancel(batch.id).status == "cancelling"
    assert api.batches.retrieve(batch.id).status == "cancelled"
    assert api.files.delete(file.id).deleted


def test_sdk_lists_models(provider):
    assert {"fake", "fake-slow", "fake-cut-after-10"} <= {
        model.id for model in client(provider).models.list()
    }
