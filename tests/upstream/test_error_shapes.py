# ruff: noqa: E501 - one error on each line
"""The errors of the providers, as they are documented or known: each ends in the right class."""

import pytest

from chat.upstream import errors, translate
from chat.upstream.error_shapes import classify, read
from chat.upstream.redaction import redacted
from chat.upstream.waits import duration_s, wait_in_fields, wait_in_message

LONG, KEY, MODEL = errors.ContextTooLong, errors.WrongKey, errors.UnknownModel
CREDIT, RATE, FILTERED = errors.QuotaExhausted, errors.RateLimited, errors.ContentFiltered
BUSY, ADDRESS, REJECTED = errors.ServerFailed, errors.WrongAddress, errors.Rejected


def openai_error(message, code=None, type_="invalid_request_error", param=None):
    return {"message": message, "type": type_, "param": param, "code": code}


def wrapped(error):
    return {"error": error}


def gemini(code, status, message, **details):
    return [{"error": {"code": code, "status": status, "message": message, **details}}]


# Provider, HTTP status, body -> class. Bodies are as the SDK gives them: an `error` object is unwrapped.
TABLE = [
    ("OpenAI", 400, openai_error("This model's maximum context length is 8192 tokens.", "context_length_exceeded"), LONG),
    ("OpenAI", 401, openai_error("Incorrect API key provided: sk-x.", "invalid_api_key"), KEY),
    ("OpenAI", 429, openai_error("You exceeded your current quota, check your plan.", "insufficient_quota"), CREDIT),
    ("OpenAI", 429, openai_error("Rate limit reached for m. Try again in 20s.", "rate_limit_exceeded"), RATE),
    ("OpenAI", 404, openai_error("The model `x` does not exist or you lack access.", "model_not_found"), MODEL),
    ("OpenAI", 404, openai_error("Invalid URL (POST /chat/completions)"), ADDRESS),
    ("OpenAI", 400, openai_error("Invalid prompt: flagged by our safety system.", "content_policy_violation"), FILTERED),
    ("OpenAI", 400, openai_error("Unsupported parameter: 'x'.", "unsupported_parameter", param="x"), REJECTED),
    ("Azure", 401, {"statusCode": 401, "message": "Access denied due to invalid subscription key."}, KEY),
    ("Azure", 404, openai_error("The API deployment for this resource does not exist.", "DeploymentNotFound"), MODEL),
    ("Azure", 404, {"code": "404", "message": "Resource not found"}, ADDRESS),
    ("Azure", 400, openai_error("The response was filtered by the content management policy.", "content_filter"), FILTERED),
    ("Azure", 429, {"code": "429", "message": "Requests exceeded the call rate limit. Retry after 12 seconds."}, RATE),
    ("Anthropic", 400, {"type": "invalid_request_error", "message": "prompt is too long: 208310 tokens > 200000 maximum"}, LONG),
    ("Anthropic", 400, openai_error("Your credit balance is too low to access the API.", "invalid_request_error"), CREDIT),
    ("Anthropic", 401, {"type": "authentication_error", "message": "invalid x-api-key"}, KEY),
    ("Anthropic", 529, {"type": "overloaded_error", "message": "Overloaded"}, BUSY),
    ("Anthropic", 429, {"type": "rate_limit_error", "message": "This would exceed your rate limit."}, RATE),
    ("Anthropic", 404, {"type": "not_found_error", "message": "model: claude-x"}, MODEL),
    ("Gemini", 400, gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), KEY),
    ("Gemini", 400, gemini(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), LONG),
    ("Gemini", 404, gemini(404, "NOT_FOUND", "models/x is not found for API version v1, or is not supported."), MODEL),
    ("Gemini", 429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded. Please retry in 5s."), RATE),
    ("Gemini", 503, gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), BUSY),
    ("Mistral", 400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}, LONG),
    ("Mistral", 401, {"message": "Unauthorized", "request_id": "1"}, KEY),
    ("Mistral", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}, MODEL),
    ("Mistral", 429, {"message": "Requests rate limit exceeded"}, RATE),
    ("Mistral", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]}, REJECTED),
    ("DeepSeek", 402, openai_error("Insufficient Balance", "invalid_request_error", "unknown_error"), CREDIT),
    ("DeepSeek", 401, openai_error("Authentication Fails (no such user)", "invalid_request_error", "authentication_error"), KEY),
    ("DeepSeek", 400, openai_error("Model Not Exist", "invalid_request_error"), MODEL),
    ("DeepSeek", 400, openai_error("This model's maximum context length is 65536 tokens. You requested 70000 tokens.", "invalid_request_error"), LONG),
    ("DeepSeek", 503, openai_error("The server is overloaded", "service_unavailable"), BUSY),
    ("OpenRouter", 402, {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}, CREDIT),
    ("OpenRouter", 401, {"code": 401, "message": "No auth credentials found"}, KEY),
    ("OpenRouter", 400, {"code": 400, "message": "x/y is not a valid model ID"}, MODEL),
    ("OpenRouter", 404, {"code": 404, "message": "No endpoints found for x/y."}, MODEL),
    ("OpenRouter", 403, {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"], "provider_name": "OpenAI requires moderation"}}, errors.Forbidden),
    ("OpenRouter", 400, {"code": 400, "message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"maximum context length is 10 tokens"}}'}}, LONG),
    ("OpenRouter", 429, {"code": 429, "message": "Provider returned error", "metadata": {"raw": "x is temporarily rate-limited upstream."}}, RATE),
    ("OpenRouter", 502, {"code": 502, "message": "Provider returned error"}, BUSY),
    ("Groq", 413, openai_error("Request too large for model x on tokens per minute (TPM): Limit 6000, Requested 7000", "rate_limit_exceeded", "tokens"), RATE),
    ("Groq", 429, openai_error("Rate limit reached. Please try again in 7m12.5s.", "rate_limit_exceeded", "tokens"), RATE),
    ("Groq", 401, openai_error("Invalid API Key", "invalid_api_key"), KEY),
    ("Groq", 400, openai_error("The model `x` has been decommissioned and is no longer supported.", "model_decommissioned"), MODEL),
    ("Groq", 400, openai_error("Please reduce the length of the messages or completion.", "context_length_exceeded"), LONG),
    ("vLLM", 400, {"object": "error", "message": "This model's maximum context length is 300 tokens. However, you requested 372 tokens in the messages. Please reduce the length of the messages.", "type": "BadRequestError", "param": None, "code": 400}, LONG),
    ("vLLM", 404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}, MODEL),
    ("vLLM", 404, {"detail": "Not Found"}, ADDRESS),
    ("vLLM", 401, {"error": "Unauthorized"}, KEY),
    ("llama.cpp", 400, {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 20, "n_ctx": 10}, LONG),
    ("llama.cpp", 401, {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}, KEY),
    ("llama.cpp", 503, {"code": 503, "message": "Loading model", "type": "unavailable_error"}, BUSY),
    ("llama.cpp", 404, {"code": 404, "message": "File Not Found", "type": "not_found_error"}, ADDRESS),
    ("LM Studio", 400, {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}, LONG),
    ("LM Studio", 404, openai_error('No models loaded. Please load a model in the developer page.', "model_not_found"), MODEL),
    ("LM Studio", 200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, ADDRESS),
    ("Ollama", 404, openai_error('model "x" not found, try pulling it first', None, "api_error"), MODEL),
    ("Ollama", 404, "404 page not found", ADDRESS),
    ("Ollama", 400, openai_error("input length exceeds maximum context length", None, "api_error"), LONG),
    ("Ollama", 503, {"error": "server busy, please try again. maximum pending requests exceeded"}, BUSY),
    ("a proxy", 404, "<!doctype html><h1>404</h1><p>nginx</p>", ADDRESS),
    ("a proxy", 405, "Method Not Allowed", ADDRESS),
    ("a proxy", 413, "<html>Request Entity Too Large</html>", LONG),
    ("a proxy", 502, "<html>Bad Gateway</html>", BUSY),
    ("a proxy", 307, None, errors.Redirected),
    ("another", 400, openai_error("Something else."), REJECTED),
    ("another", 404, openai_error("Nothing like this here, as requested."), MODEL),
    ("another", 451, None, REJECTED),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "status", "body", "kind"), TABLE)
def test_an_error_over_http_has_its_class(provider, status, body, kind):
    assert classify(read(status, body)) is kind


IN_STREAM = [
    ({"message": "This model's maximum context length is 8192 tokens.", "code": 400}, LONG),
    ({"message": "Insufficient credits", "code": 402}, CREDIT),
    ({"message": "Overloaded", "type": "overloaded_error"}, BUSY),
    ({"message": "Rate limit exceeded", "code": 429}, RATE),
    ({"message": "Invalid API key"}, KEY),
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
