"""`n` and `logprobs` with the official client: passed on, stored, never recovered, never half of it."""

import json

import openai
import pytest

from chat.api.invalid_body import InvalidBody
from chat.api.parsing import parse
from tests.api.conftest import QUICK_RETRIES
from tests.api.test_native import send
from tests.support.server_settings import overridden

QUESTION = [{"role": "user", "content": "Which one? [[text=The second one.]]"}]


def asking(directives):
    return [{"role": "user", "content": f"Which one? [[text=The second one.]] {directives}"}]


def create(client, messages=QUESTION, **more):
    return client.chat.completions.create(model="fake", messages=messages, **more)


def test_choices_and_log_probabilities_whole_streamed_repeated_and_cut(api):
    no_breaker = {"failures_in_a_row": 1000, "calls_min": 1000}
    api = api(**overridden(RETRY_POLICY=QUICK_RETRIES, BREAKER_POLICY=no_breaker))
    client = api.client()
    asked = {"n": 3, "logprobs": True, "top_logprobs": 2}
    keyed = {"extra_headers": {"Idempotency-Key": "once"}}
    whole = create(client, **asked, **keyed)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in whole.choices]
    assert texts == ["The second one.", "(1) The second one.", "(2) The second one."]
    for choice in whole.choices:
        tokens = choice.logprobs.content
        assert "".join(token.token for token in tokens) == choice.message.content
        assert {len(token.top_logprobs) for token in tokens} == {2}
        assert choice.finish_reason == "stop"
    assert whole.usage.completion_tokens > 0
    assert create(client, **asked, **keyed).choices == whole.choices

    with client.chat.completions.stream(
        model="fake", messages=QUESTION, stream_options={"include_usage": True}, **asked
    ) as stream:
        gathered = stream.get_final_completion()
    assert [choice.message.content for choice in gathered.choices] == texts
    assert [choice.logprobs for choice in gathered.choices] == [choice.logprobs for choice in whole.choices]
    assert gathered.usage.completion_tokens == whole.usage.completion_tokens
    repeatable = {"extra_headers": {"Idempotency-Key": "stream"}, "stream": True}
    for chunk in create(client, **asked, **repeatable):  # a piece comes with its own log probabilities
        for choice in chunk.choices:
            tokens = choice.logprobs.content if choice.logprobs else ()
            assert (choice.delta.content or "") == "".join(token.token for token in tokens)

    api.server.query("from chat.models import LoggedEvent; LoggedEvent.objects.all().delete()")
    api.server.restart()
    chunks = [chunk.choices[0] for chunk in create(client, **asked, **repeatable)]
    assert [chunk.delta.content for chunk in chunks if chunk.delta.content] == texts
    assert [chunk.index for chunk in chunks if chunk.finish_reason == "stop"] == [0, 1, 2]
    state = send(api, "GET", f"/generations/{whole.id}")[2]
    assert len(state["completion"]["choices"]) == 3

    plain = create(client, n=1, logprobs=False)
    assert (len(plain.choices), plain.choices[0].logprobs) == (1, None)
    check_interruptions(api, client)


def check_is_unfinished(chunks):
    for chunk in chunks:
        assert not any(choice.finish_reason for choice in chunk.choices)


def check_interruptions(api, client):
    """An interruption is an error, at once; before the first piece everything is as usual."""
    for more in ({"n": 2}, {"logprobs": True}):
        before = len(api.requests())
        with pytest.raises(openai.APIStatusError) as caught:
            create(client, asking("[[cut after=2]]"), **more)
        assert (caught.value.status_code, caught.value.code) == (502, "cut")
        with pytest.raises(openai.APIError) as caught:
            check_is_unfinished(create(client, asking("[[cut after=2]]"), stream=True, **more))
        assert caught.value.code == "cut"
        assert len(api.requests()) == before + 2
        answer = create(
            client, asking("[[status=503 times=3]]"), extra_body={"fallbacks": ["fake:second"]}, **more
        )
        assert len(answer.choices) == more.get("n", 1)


def body(**more):
    return json.dumps({"model": "m", "messages": QUESTION} | more).encode()


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"n": 2, "background": True}, "unsupported_parameter", "n"),
        ({"logprobs": True, "background": True}, "unsupported_parameter", "logprobs"),
        ({"top_logprobs": 3}, "invalid_value", "top_logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "invalid_value", "top_logprobs"),
        ({"n": 0}, "invalid_value", "n"),
        ({"n": 129}, "invalid_value", "n"),
        ({"n": "2"}, "invalid_value", "n"),
    ],
)
def test_what_is_refused(more, code, param):
    with pytest.raises(InvalidBody) as caught:
        parse(body(**more))
    assert (caught.value.code, caught.value.param) == (code, param)
