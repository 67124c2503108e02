"""Every provider fault gives a complete answer or an error in OpenAI's format, never a partial answer."""

import time

import openai
import pytest

from tests.api.test_openai_client import ask, text_of
from tests.support.programs import until
from tests.support.server_settings import overridden

EARLY = [
    *("status=400", "status=401", "status=403", "status=404", "status=408", "status=409", "status=413"),
    *("status=422", "status=500", "status=502", "status=503", "status=529", "quota", "filtered"),
    *("reset_early", "close_early", "garbage", "empty", "html", "silent"),
    "status=429 retry_after=90",  # the last: the whole endpoint pauses
]
LATE = ["cut", "drop", "reset", "stall", "malformed", "error", "event_error"]
QUICK = {
    "CHATSITE_FIRST_TOKEN_TIMEOUT_S": "1",
    "CHATSITE_STALL_TIMEOUT_S": "1",
} | overridden(
    RETRY_POLICY={"backoff_first_s": 0.05, "backoff_cap_s": 0.1},
    BREAKER_POLICY={"failures_in_a_row": 1000, "calls_min": 1000},
)
TEXT = "The same text from every model."


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_failure_before_the_first_text_has_a_status(api, is_stream):
    client = api(**QUICK).client()
    for fault in EARLY:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, f"hello [[{fault}]]", stream=is_stream)
        assert caught.value.status_code >= 400, fault
        assert caught.value.body["type"], fault
        assert caught.value.body["code"], fault
        assert caught.value.body["generation"].startswith("gen-"), fault


def test_a_rejection_is_told_in_the_endpoints_own_words_without_key_and_host(api):
    client = api(**QUICK).client()
    said = "tokens of top_k are wrong, see http://10.0.0.7/docs, key sk-abcdef123456"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, f"hello [[status=400 message={said}]]")
    assert "tokens of top_k are wrong" in caught.value.message
    assert "10.0.0.7" not in caught.value.message
    assert "abcdef" not in caught.value.message


def test_an_interrupted_answer_that_is_not_recovered_is_an_error(api):
    client = api(CHATSITE_RECOVERY="keep", **QUICK).client()
    for fault in LATE:
        with pytest.raises(openai.InternalServerError):
            ask(client, f"hello [[{fault} after=5]]")
        shown = []
        stream = ask(client, f"hello [[{fault} after=5]]", stream=True)
        with pytest.raises(openai.APIError) as caught:
            shown.extend(stream)
        assert text_of(shown), fault
        assert all(chunk.choices[0].finish_reason is None for chunk in shown), fault
        assert caught.value.body["generation"].startswith("gen-"), fault


def test_an_interrupted_answer_is_recovered_on_the_open_stream(api):
    api = api(**QUICK)
    client = api.client()
    for fault in LATE:
        question = f"{fault} [[{fault} after=5 times=1]] [[text={TEXT}]]"
        assert text_of(ask(client, question, stream=True)) == TEXT, fault
        assert ask(client, question + " ").choices[0].message.content == TEXT, fault


@pytest.mark.parametrize("name", ["cut", "malformed", "stall"])
def test_a_fallback_completes_the_stream_and_is_named(api, name):
    client = api(**QUICK | {"CHATSITE_FIRST_TOKEN_TIMEOUT_S": "10"}).client()
    model = f"fake-{name}-after-5:{name}"
    stream = ask(
        client,
        f"hello [[text={TEXT}]]",
        model,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"fallbacks": ["fake"]},
    )
    chunks = list(stream)
    assert text_of(chunks) == TEXT
    assert chunks[0].model == model
    assert chunks[-1].model == "fake"
    assert chunks[-1].usage.completion_tokens
    done = ask(client, f"again [[text={TEXT}]]", model, extra_body={"fallbacks": ["fake"]})
    assert (done.model, done.choices[0].message.content) == ("fake", TEXT)


def test_a_silent_model_is_given_up_for_a_fallback_within_twelve_seconds(api):
    client = api(OPENAI_MODEL="fake-silent:silent,fake").client()
    begun_s = time.monotonic()
    done = ask(client, "hello", "fake-silent:silent", extra_body={"fallbacks": ["fake"]})
    assert done.model == "fake"
    assert time.monotonic() - begun_s <= 12


def test_what_cannot_be_taken_back_ends_the_stream_and_the_generation(api):
    api = api()
    stream = ask(
        api.client(),
        "hello",
        "fake-cut-after-5:cut",
        stream=True,
        extra_body={"fallbacks": ["fake-seed-9+hold-gate-after-30:other"]},
    )
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "restarted"
    count = "from chat.models import Generation; print(Generation.objects.get().status)"
    until(lambda: api.server.query(count) == "stopped", "the generation's end")


def test_a_server_that_stops_says_so_on_the_streams_it_cannot_finish(api):
    api = api(CHATSITE_DRAIN_S="1")
    stream = ask(api.client(), "hello [[hold=gate after=5]]", stream=True)
    next(stream)
    api.server.terminate()
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "restarting"
