# ruff: noqa: E501 - one error on each line
"""The errors of the providers, as they are documented or known: each ends in the right class."""

import pytest

from chat.fakeprovider.provider_errors import PROVIDER_ERRORS
from chat.upstream import errors, translate
from chat.upstream.error_shapes import classify, read
from chat.upstream.redaction import redacted
from chat.upstream.waits import duration_s, wait_in_fields, wait_in_message
from tests.upstream.support import ask


def openai_error(message, code=None, type_="invalid_request_error", param=None):
    return {"message": message, "type": type_, "param": param, "code": code}


KINDS = {
    "context": errors.ContextTooLong,
    "key": errors.WrongKey,
    "credit": errors.QuotaExhausted,
    "model": errors.UnknownModel,
    "rate": errors.RateLimited,
    "refused": errors.Rejected,
    "filtered": errors.ContentFiltered,
    "overloaded": errors.ServerFailed,
    "address": errors.WrongAddress,
    "forbidden": errors.Forbidden,
    "redirect": errors.Redirected,
}
# What every provider sends, and what only those do that are paid or watch over what is asked.
EVERYWHERE = {"context", "key", "model", "refused", "overloaded", "address"}
AT_SERVICES = EVERYWHERE | {"credit", "rate"}
FILTERING = AT_SERVICES | {"filtered"}
PROVIDERS = {
    "openai": FILTERING,
    "azure": FILTERING,
    "anthropic": FILTERING,
    "gemini": FILTERING,
    "mistral": FILTERING,
    "deepseek": FILTERING,
    "openrouter": FILTERING,
    "groq": AT_SERVICES,
    "vllm": EVERYWHERE,
    "llamacpp": EVERYWHERE,
    "lmstudio": EVERYWHERE,
    "ollama": EVERYWHERE | {"rate"},
}


@pytest.mark.parametrize("name", PROVIDER_ERRORS)
def test_an_error_over_http_has_its_class(name):
    _provider, kind, status, body = PROVIDER_ERRORS[name]
    assert classify(read(status, body)) is KINDS[kind]
    in_sdk = body.get("error", body) if isinstance(body, dict) else body  # what the SDK leaves of it
    assert classify(read(status, in_sdk)) is KINDS[kind]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_kind_of_error_of_a_provider_is_known(provider):
    assert {each.kind for each in PROVIDER_ERRORS.values() if each.provider == provider} >= PROVIDERS[
        provider
    ]


@pytest.mark.parametrize("name", PROVIDER_ERRORS)
async def test_an_error_from_a_server_has_its_class_and_its_calls(name):
    kind = KINDS[PROVIDER_ERRORS[name].kind]
    outcome = await ask(f"[[provider_error={name}]]", budget=2)
    assert type(outcome.error) is kind
    assert outcome.text == ""
    is_short_wait = (getattr(outcome.error, "retry_after_s", None) or 0) <= 60
    is_repeated = kind in (errors.RateLimited, errors.ServerFailed) and is_short_wait
    assert len(outcome.provider.requests) == (2 if is_repeated else 1)


IN_STREAM = [
    ({"message": "This model's maximum context length is 8192 tokens.", "code": 400}, errors.ContextTooLong),
    ({"message": "Insufficient credits", "code": 402}, errors.QuotaExhausted),
    ({"message": "Overloaded", "type": "overloaded_error"}, errors.ServerFailed),
    ({"message": "Rate limit exceeded", "code": 429}, errors.RateLimited),
    ({"message": "Invalid API key"}, errors.WrongKey),
    ({"message": "Something broke"}, errors.StreamedError),
    ("Something broke", errors.StreamedError),
]


@pytest.mark.parametrize(("error", "kind"), IN_STREAM)
def test_an_error_within_a_response_has_its_class(error, kind):
    assert type(translate.from_stream(error, "")) is kind


REFUSALS = [
    (400, openai_error("Unsupported value: 'temperature' does not support 0.2. Only the default (1) value is supported.", "unsupported_value", param="temperature"), "temperature"),
    (400, openai_error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens"), "max_tokens"),
    (400, openai_error("Unsupported value: 'messages[0].role' does not support 'system'.", param="messages[0].role"), "system"),
    (400, {"message": "System role not supported"}, "system"),
    (400, {"message": "Unknown parameter: 'stream_options'."}, "stream_options"),
    (400, {"message": "`temperature` is deprecated for this model."}, "temperature"),
    (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "presence_penalty"], "msg": "Extra inputs are not permitted"}]}, "presence_penalty"),
    (400, {"message": "This model does not support assistant message prefill. The conversation must end with a user message."}, "prefill"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "parameter"), REFUSALS)
def test_a_refused_parameter_is_named(status, body, parameter):
    assert parameter in read(status, body).refused_parameters


def test_an_ordinary_error_refuses_no_parameter():
    assert read(400, openai_error("Conversation roles must alternate.")).refused_parameters == ()
    assert read(401, openai_error("Invalid 'api_key' is not supported")).refused_parameters == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 7m12.5s.", 432.5),
        ("Retry after 12 seconds", 12),
        ("Please retry in 5.3s.", 5.3),
        ("try again in 250ms", 0.25),
        ("Try again in 2 minutes", 120),
        ("Please try again later.", None),
        ("Limit 6000, Requested 7000", None),
    ],
)
def test_a_wait_in_words_is_understood(text, seconds):
    assert wait_in_message(text) == (None if seconds is None else pytest.approx(seconds))


def test_a_wait_in_fields_is_understood():
    assert wait_in_fields({"details": [{"@type": "…RetryInfo", "retryDelay": "5s"}]}) == 5
    assert wait_in_fields({"retry_after": 3}) == 3
    assert wait_in_fields({"retry_after": "x", "details": 5}) is None
    assert duration_s("1m30s") == 90
    assert duration_s("soon") is None


@pytest.mark.parametrize(
    "text",
    ["sk-abcdef123456", "AIzaSyA1234567890abc", "gsk_abc123def", "http://10.0.0.7:8000/v1?key=abc",
     "api.example.com", "10.0.0.7", "localhost:11434", "Bearer abcdef123", "internal-host:8080"],
)  # fmt: skip
def test_keys_and_hosts_are_removed(text):
    assert text not in redacted(f"Refused: {text} is wrong.")
    assert redacted("gpt-4.1 has 8192 tokens, e.g. 3.5.") == "gpt-4.1 has 8192 tokens, e.g. 3.5."
