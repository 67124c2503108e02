"""Parameters: known names are checked, vendor extras go on, typing errors are refused with the right name."""

import json

import openai
import pytest

from chat.api.invalid_body import InvalidBody
from chat.api.parser_child import parse_large
from chat.api.parsing import parse
from tests.api.test_openai_client import ask

VENDOR = [
    *("chat_template_kwargs", "repeat_penalty", "thinking", "reasoning", "provider", "guided_json"),
    *("cache_prompt", "guided_choice", "enable_thinking", "typical_p", "mirostat", "min_tokens", "num_ctx"),
    *("stop_token_ids", "ignore_eos", "safe_prompt", "random_seed", "keep_alive", "top_a", "best_of"),
    *("continue_final_message", "add_generation_prompt", "transforms", "models", "route", "plugins"),
]
MISSPELT = {
    "temprature": "temperature",
    "Temperature": "temperature",
    "maxTokens": "max_tokens",
    "max-tokens": "max_tokens",
    "max_token": "max_tokens",
    "maxCompletionTokens": "max_completion_tokens",
    "topP": "top_p",
    "response_fromat": "response_format",
    "tool": "tools",
    "toolChoice": "tool_choice",
    "reasoning_efort": "reasoning_effort",
    "presense_penalty": "presence_penalty",
    "steam": "stream",
    "message": "messages",
}


def body(**more):
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | more).encode()


@pytest.mark.parametrize("name", VENDOR)
def test_vendor_extras_are_kept(name):
    value = {"a": [1, "b\0"]}
    assert parse(body(**{name: value})).extras == {name: {"a": [1, "b"]}}
    assert parse_large(body(**{name: value}))[0].extras == {name: {"a": [1, "b"]}}


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_a_misspelt_name_is_refused_with_the_right_one(name, meant):
    with pytest.raises(InvalidBody) as caught:
        parse(body(**{name: 1}))
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", name)
    assert f"“{meant}”" in str(caught.value)


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_names_have_a_sensible_length(name):
    with pytest.raises(InvalidBody):
        parse(body(**{name: 1}))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("functions", [{}], "tools"), ("function_call", {"name": "f"}, "tool_choice"), ("audio", {}, "Remove")],
)
def test_what_is_not_supported_is_refused_in_words(name, value, words):
    with pytest.raises(InvalidBody) as caught:
        parse(body(**{name: value}))
    assert caught.value.code == "unsupported_parameter"
    assert words in str(caught.value)


def test_both_names_of_the_output_limit_may_be_sent_with_one_value():
    assert parse(body(max_tokens=5, max_completion_tokens=5)).options.max_tokens == 5
    with pytest.raises(InvalidBody):
        parse(body(max_tokens=5, max_completion_tokens=6))


def test_the_endpoints_row_says_what_happens_to_extras(api):
    api = api()
    client = api.client()
    extra = {"chat_template_kwargs": {"thinking": False}}
    ask(client, "one", extra_body=extra)
    assert "chat_template_kwargs" in api.requests()[-1]["fields"]
    update = "from chat.models import Endpoint; Endpoint.objects.update(extra_parameters='{}')"
    api.server.query(update.format("drop"))
    ask(client, "two", extra_body=extra)
    assert "chat_template_kwargs" not in api.requests()[-1]["fields"]
    api.server.query(update.format("refuse"))
    with pytest.raises(Exception, match="chat_template_kwargs") as caught:
        ask(client, "three", extra_body=extra)
    assert caught.value.code == "unknown_parameter"


def test_the_providers_words_reach_the_program(api):
    client = api(OPENAI_MODEL="fake,fake-context-200").client()
    words = "tools.0. is wrong, ask 10.0.0.7:8000 with sk-1234567890"
    with pytest.raises(openai.BadRequestError, match=r"tools.0. is wrong") as caught:
        ask(client, f"bad [[status=400 message={words}]]")
    assert "10.0.0.7" not in caught.value.message
    assert "sk-1234567890" not in caught.value.message
    with pytest.raises(openai.BadRequestError, match="maximum context length is 200 tokens") as caught:
        ask(client, "word " * 300, model="fake-context-200")
    assert caught.value.code == "context_length_exceeded"


def test_a_refusal_arrives_as_one(api):
    client = api().client()
    refused = ask(client, "no [[refusal]] [[deltas=5]]").choices[0].message
    assert (refused.content, bool(refused.refusal), refused.annotations) == (None, True, [])
    chunks = ask(client, "no [[refusal]] [[deltas=5]]", stream=True)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.refusal or "" for delta in deltas) == refused.refusal
    assert not any(delta.content for delta in deltas)


def test_an_error_that_says_try_again_may_be_tried_again(api):
    client = api().client()
    with pytest.raises(openai.InternalServerError, match="Try again") as caught:
        ask(client, "hello [[status=500]]")
    assert "x-should-retry" not in caught.value.response.headers
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "hello [[status=400]]")
    assert caught.value.response.headers["x-should-retry"] == "false"
