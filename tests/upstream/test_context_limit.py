# ruff: noqa: E501 - one error on each line
"""What the providers' errors say about the size of a context."""

import pytest

from chat.upstream import errors, translate
from chat.upstream.context_limit import fitting_share, limit_in

# Provider, message, other fields -> the context in tokens, and the share of the prompt that fits.
TABLE = [
    ("OpenAI", "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", {}, 8192, 8192 / 9000),
    ("OpenAI", "This model's maximum context length is 4097 tokens, however you requested 5000 tokens (1000 in your prompt; 4000 for the completion).", {}, 4097, 97 / 1000),
    ("OpenAI", "Input tokens exceed the configured limit of 272,000 tokens. Your messages resulted in 300,000 tokens.", {}, 272_000, 272 / 300),
    ("OpenAI", "Your input exceeds the context window of this model.", {}, None, None),
    ("OpenAI", "Expected a string with maximum length 1048576, but got a string with length 2000000 instead.", {}, None, 1048576 / 2_000_000),
    ("OpenRouter", "This endpoint's maximum context length is 32,768 tokens. However, you requested about 40,000 tokens (38,000 of text input, 2,000 in the output).", {}, 32_768, 30_768 / 38_000),
    ("vLLM", "This model's maximum context length is 300 tokens. However, you requested 372 tokens in the messages.", {}, 300, 300 / 372),
    ("vLLM", "'max_tokens' is too large: 4000. This model's maximum context length is 4096 tokens and your request has 500 input tokens (4000 > 4096 - 500).", {}, 4096, None),
    ("vLLM", "The prompt (total length 9000) is longer than the maximum model length of 4096.", {}, 4096, 4096 / 9000),
    ("SGLang", "The input (5000 tokens) is longer than the model's context length (4096 tokens).", {}, 4096, 4096 / 5000),
    ("Anthropic", "prompt is too long: 208310 tokens > 200000 maximum", {}, 200_000, 200_000 / 208_310),
    ("Anthropic", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease either", {}, 200_000, 180 / 190),
    ("Gemini", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", {}, 1_048_576, 1_048_576 / 1_200_000),
    ("Gemini", "The input token count exceeds the maximum number of tokens allowed 1048576.", {}, 1_048_576, None),
    ("Mistral", "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", {}, 32_768, 32_768 / 40_000),
    ("xAI", "This model's maximum prompt length is 131072 but the request contains 140000 tokens.", {}, 131_072, 131_072 / 140_000),
    ("llama.cpp", "the request exceeds the available context size, try increasing it", {"n_ctx": 4096, "n_prompt_tokens": 5000}, 4096, 4096 / 5000),
    ("llama.cpp", "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", {}, 4096, 4096 / 5000),
    ("LM Studio", "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.", {}, 4096, 4096 / 5000),
    ("LM Studio", "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 5000>= n_ctx: 4096).", {}, 4096, 4096 / 5000),
    ("TGI", "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens.", {}, 4096, 4096 / 5000),
    ("Ollama", "input length exceeds maximum context length", {}, None, None),
    ("Groq", "Please reduce the length of the messages or completion.", {}, None, None),
    ("another", "prompt length (9000) exceeds the context length (4096)", {}, 4096, 4096 / 9000),
    ("another", "The maximum context length of this model is 128k tokens.", {}, None, None),
    ("odd fields", "context exceeded", {"n_ctx": "many", "n_prompt_tokens": None}, None, None),
    ("odd fields", "context exceeded", {"n_ctx": -1}, None, None),
    ("odd fields", "context exceeded", {"n_ctx": True}, None, None),
    ("odd fields", "context exceeded", {"n_ctx": float("nan"), "n_prompt_tokens": 10}, None, None),
    ("odd fields", "context exceeded", {"n_ctx": 4096, "n_prompt_tokens": 0}, 4096, None),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "message", "values", "limit", "share"), TABLE)
def test_the_limit_and_what_fits_are_read(provider, message, values, limit, share):
    assert limit_in(message, values) == limit
    assert fitting_share(message, values) == (None if share is None else pytest.approx(share))


def test_an_error_carries_both():
    error = translate.from_stream(
        {"message": "prompt is too long: 208310 tokens > 200000 maximum", "type": "invalid_request_error"}, ""
    )
    assert isinstance(error, errors.ContextTooLong)
    assert error.limit_tokens == 200_000
    assert error.fits == pytest.approx(200_000 / 208_310)
    assert errors.ContextTooLong().limit_tokens is None
