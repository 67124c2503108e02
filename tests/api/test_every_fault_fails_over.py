"""Faults of a provider, seen by a program that names a fallback: each ends with the fallback's whole answer.

The rows of the models are those that the environment variables make, as on a new site; only the two faults
that belong to an address have endpoints of their own.
"""

import asyncio
from urllib.parse import urlsplit

import openai
import pytest

from tests.api.conftest import Api
from tests.api.test_faults import QUICK, TEXT
from tests.support.programs import free_port
from tests.support.serving import ProviderOfTest, serving

# What it is -> the model that has it.
FAULTS = {
    "reset before the headers": "fake-reset-early",
    "closed before the headers": "fake-close-early",
    "not HTTP": "fake-garbage",
    "500": "fake-status-500",
    "502 with a page": "fake-status-502-body-html",
    "503": "fake-status-503",
    "529": "fake-status-529",
    "429": "fake-status-429",
    "429 with Retry-After": "fake-status-429-retry-after-1",
    "429 with a long Retry-After": "fake-status-429-retry-after-90",
    "no credit": "fake-quota",
    "401": "fake-status-401",
    "402": "fake-status-402",
    "403": "fake-status-403",
    "404": "fake-status-404",
    "no byte": "fake-silent",
    "slow headers": "fake-headers-s-30",
    "slow first delta": "fake-first-s-30",
    "an empty body": "fake-empty",
    "a page of HTML": "fake-html",
    "no finish reason and no text": "fake-role-only+finish-none",
    "prompt too long": "fake-context-1",
    "stall": "fake-stall-after-5",
    "cut": "fake-cut-after-5",
    "cut after the last delta": "fake-cut-after-end",
    "connection closed": "fake-drop-after-5",
    "connection reset": "fake-reset-after-5",
    "malformed events": "fake-malformed-after-5",
    "error in the stream": "fake-error-after-5",
    "error event in the stream": "fake-event-error-after-5",
    "an unknown finish reason": "fake-finish-error",
}
# Endpoints that cannot be called: nothing listens, and a server that does not speak TLS.
ELSEWHERE = {"connection refused": "http://127.0.0.1:{free}/v1", "TLS": "https://127.0.0.1:{provider}/v1"}
ADD = """
from chat.models import Endpoint, Model
for name, url in {addresses!r}.items():
    endpoint = Endpoint.objects.create(name=name, base_url=url, api_key_env="OPENAI_API_KEY")
    Model.objects.create(endpoint=endpoint, name="fake:" + name)
"""
ENV = QUICK | {
    "CHATSITE_FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S": "1",
    "OPENAI_MODEL": ",".join(["fake", "fake:first", *FAULTS.values()]),
}
CONCURRENCY = 8


@pytest.fixture(scope="module")
def started(tmp_path_factory, prepared_data):
    with (
        ProviderOfTest.running() as provider,
        serving(tmp_path_factory.mktemp("servers"), prepared_data) as serve,
    ):
        server = serve(provider.env_for_server | ENV)
        server.sign_in()
        add_elsewhere(server, provider)
        yield Api(server, provider)


def add_elsewhere(server, provider):
    ports = {"free": free_port(), "provider": urlsplit(provider.base_url).port}
    addresses = {name: url.format(**ports) for name, url in ELSEWHERE.items()}
    server.query(ADD.format(addresses=addresses))


async def whole(client, number, model, directives=f"[[text={TEXT}]]"):
    done = await client.chat.completions.create(**request(number, model, directives))
    return done.model, done.choices[0].message.content, done.choices[0].finish_reason


async def streamed(client, number, model):
    chunks = [
        chunk async for chunk in await client.chat.completions.create(**request(number, model), stream=True)
    ]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return chunks[-1].model, text, chunks[-1].choices[0].finish_reason


def request(number, model, directives=f"[[text={TEXT}]]"):
    messages = [{"role": "user", "content": f"{number} {directives}"}]
    return {"model": model, "messages": messages, "extra_body": {"fallbacks": ["fake"]}}


async def test_each_fault_ends_with_the_whole_answer_of_the_fallback(started):
    models = FAULTS | {name: f"fake:{name}" for name in ELSEWHERE}
    assert len(models) >= 16
    slots = asyncio.Semaphore(CONCURRENCY)

    async def run(number, call, model):
        async with slots:
            try:
                return await call(client, number, model)
            except Exception as exc:  # noqa: BLE001 - the table of all faults is the result
                return repr(exc)

    async with started.async_client() as client:
        plan = [(name, call) for name in models for call in (whole, streamed)]
        seen = await asyncio.gather(
            *(run(number, call, models[name]) for number, (name, call) in enumerate(plan))
        )
    wrong = {
        (name, call.__name__): outcome
        for (name, call), outcome in zip(plan, seen, strict=True)
        if outcome != ("fake", TEXT, "stop")
    }
    assert wrong == {}


async def test_what_the_model_itself_decided_is_passed_on(started):
    """A filter judges the question, which no other model is asked then; silence is an answer, too."""
    async with started.async_client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await whole(client, 1, "fake:first", "[[filtered]]")
        assert caught.value.code == "content_filter"
        assert (await whole(client, 2, "fake:first", "[[finish=content_filter]]"))[0::2] == (
            "fake:first",
            "content_filter",
        )
        assert await whole(client, 3, "fake:first", "[[role_only]]") == ("fake:first", "", "stop")
