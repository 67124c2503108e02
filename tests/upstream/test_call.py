"""One call against a provider on a real socket: what counts as a complete answer."""

import asyncio
import json

import pytest

from chat import upstream
from chat.fakeprovider import FakeProvider
from chat.text import clean
from chat.upstream import errors
from chat.upstream.client import UpstreamRequest
from tests.upstream.support import PATIENT, QUICK, ask, consume

COMPLETE = [
    "plain",
    "crlf [[crlf]]",
    "comments [[comments no_choices null_content]]",
    "bytes [[segment=1 deltas=20]]",
    "split [[split deltas=200]]",
    "ascii [[ascii split deltas=200]]",
    "pairs [[split_pairs ascii deltas=300]]",
    "joined [[join=50 deltas=200]]",
    "huge [[deltas=1 chars=1048576]]",
    "long [[deltas=20000 rate=0]]",
    "no done [[no_done]]",
    "usage inside [[usage=inline]]",
    "no usage [[usage=never]]",
    "to the end of the connection [[close_delimited]]",
    "one document [[unstreamed]]",
    "mark [[bom]]",
    "parts [[shape=parts reasoning=3]]",
    "messages [[shape=message]]",
    "older API [[shape=text]]",
    "another choice [[second_choice]]",
    "token counts [[usage=floats]]",
    "token counts [[usage=strings]]",
    "token counts [[usage=empty]]",
    "too early [[early_finish]]",
]


@pytest.mark.parametrize("question", COMPLETE)
async def test_every_form_of_a_complete_answer_gives_its_exact_text(question):
    outcome = await ask(question)
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    assert outcome.finished.reason == "stop"
    assert outcome.calls == 1


async def test_nul_is_removed_and_nothing_else_is_changed():
    outcome = await ask("nul [[nul deltas=50]]")
    assert outcome.error is None
    assert outcome.text == clean(outcome.full_text)


async def test_a_lone_surrogate_becomes_a_replacement_character_and_nothing_else_is_changed():
    outcome = await ask("lone [[lone deltas=50]]")
    assert outcome.error is None
    assert outcome.text.count("\N{REPLACEMENT CHARACTER}") == 5
    assert outcome.text.replace("\N{REPLACEMENT CHARACTER}", "") == outcome.full_text


async def test_reasoning_is_separate_from_the_answer():
    outcome = await ask("think [[reasoning=20 deltas=10]]")
    assert outcome.thinking
    assert outcome.text == outcome.full_text


async def test_usage_is_what_the_endpoint_counted():
    outcome = await ask("count [[deltas=10]]")
    assert outcome.finished.usage.completion_tokens > 0
    assert (await ask("count [[usage=never]]")).finished.usage is None


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_finish_reason_is_passed_on(reason):
    assert (await ask(f"[[finish={reason}]]")).finished.reason == reason


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut after=5", errors.Cut),
        ("drop after=5", errors.Cut),
        ("reset after=5", errors.Cut),
        ("cut after=end", errors.Cut),
        ("finish=none", errors.Cut),
        ("malformed after=5", errors.Malformed),
        ("error after=5", errors.StreamedError),
        ("event_error after=5", errors.StreamedError),
        ("stall after=5", errors.Stalled),
        ("stall after=5 keepalive_s=0.05", errors.Stalled),
    ],
)
async def test_a_cut_answer_is_never_complete(fault, kind):
    outcome = await ask(f"[[{fault}]]", timeouts=QUICK, recoveries=0)
    assert type(outcome.error) is kind
    assert outcome.finished is None
    assert outcome.text
    assert outcome.full_text.startswith(outcome.text)
    assert outcome.calls == 1


async def test_done_without_a_finish_reason_is_complete_only_if_the_endpoint_is_marked_so():
    assert isinstance((await ask("[[finish=none]]")).error, errors.Cut)
    assert (await ask("[[finish=none]]", finish_reason_optional=True)).error is None
    assert isinstance((await ask("[[cut after=end]]", finish_reason_optional=True)).error, errors.Cut)


async def test_long_thinking_is_not_a_stall():
    outcome = await ask("[[reasoning=12 rate=20 deltas=2]]", timeouts=QUICK)
    assert outcome.error is None
    assert outcome.text == outcome.full_text


async def test_the_total_time_out_ends_an_answer_that_never_stalls():
    limits = upstream.Timeouts(first_token_s=5, stall_s=5, total_s=0.4)
    outcome = await ask("[[deltas=1000 rate=20]]", timeouts=limits)
    assert isinstance(outcome.error, errors.TotalTimedOut)
    assert outcome.text


async def test_a_dead_endpoint_is_unreachable():
    target = upstream.Target("http://127.0.0.1:9/v1", "", "m", timeouts=QUICK)
    with pytest.raises(errors.Unreachable):
        await consume(target, sleep=lambda wait_s: asyncio.sleep(0))


async def test_a_stop_is_seen_by_the_provider():
    async with FakeProvider() as provider:
        client = upstream.Client()
        target = upstream.Target(provider.base_url, "k", "fake", timeouts=PATIENT)
        task = asyncio.create_task(consume(target, "[[hold=gate after=3]]", client=client))
        record = await provider.wait_held("gate")
        task.cancel()
        await asyncio.wait({task})
        left = await provider.wait_for(lambda each: each.left_s is not None)
        assert left is record
        await client.close()


async def test_the_api_key_is_redacted_from_the_endpoints_message():
    outcome = await ask("[[status=401 message=Incorrect API key provided: sk-abcdef123456]]", key="")
    assert "abcdef" not in str(outcome.error)
    outcome = await ask("[[status=400 message=you sent secret]]")
    assert "secret" not in outcome.error.detail


def test_a_request_is_one_json_object_whose_large_messages_stay_in_slices():
    body = {"model": "m", "messages": [{"role": "assistant", "content": "é"}], "stream": True}
    request = UpstreamRequest("", "", body, 1.0)
    assert json.loads(b"".join(request.slices())) == body
    encoded = [b'{"role":"user","con', b'tent":"hello"}']
    large = UpstreamRequest("", "", body, 1.0, encoded_messages=encoded)
    assert large.slices()[1:3] == encoded
    user = {"role": "user", "content": "hello"}
    assert json.loads(b"".join(large.slices())) == {**body, "messages": [user, *body["messages"]]}
    alone = UpstreamRequest("", "", {**body, "messages": []}, 1.0, encoded_messages=encoded)
    assert json.loads(b"".join(alone.slices()))["messages"] == [user]
