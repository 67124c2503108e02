# ruff: noqa: E501 - one error on each line
"""Errors of the providers, as their documentation describes them or as they are known to be sent.

`[[provider_error=groq.rate]]` answers with one; a second one of the same kind is `groq.rate-2`.
"""

from typing import Any, NamedTuple


class ProviderError(NamedTuple):
    """`body`: a JSON document, or a text that is sent as it is."""

    provider: str
    kind: str
    status: int
    body: Any


def error(fields: dict[str, Any]) -> dict[str, Any]:
    return {"error": fields}


def openai(
    message: str,
    code: str | None = None,
    type: str = "invalid_request_error",
    *,
    param: str | None = None,
) -> dict[str, Any]:
    return error({"message": message, "type": type, "param": param, "code": code})


def gemini(code: int, status: str, message: str) -> list[dict[str, Any]]:
    return [error({"code": code, "status": status, "message": message})]


_ERRORS = [
    ("openai", "context", 400, openai("This model's maximum context length is 8192 tokens.", "context_length_exceeded")),
    ("openai", "key", 401, openai("Incorrect API key provided: sk-x.", "invalid_api_key")),
    ("openai", "credit", 429, openai("You exceeded your current quota, check your plan.", "insufficient_quota")),
    ("openai", "model", 404, openai("The model `x` does not exist or you lack access.", "model_not_found")),
    ("openai", "model", 404, openai("The model `x` has been deprecated, learn more.", "model_not_found")),
    ("openai", "rate", 429, openai("Rate limit reached for m. Try again in 20s.", "rate_limit_exceeded")),
    ("openai", "refused", 400, openai("Unsupported parameter: 'x'.", "unsupported_parameter", param="x")),
    ("openai", "filtered", 400, openai("Invalid prompt: flagged by our safety system.", "content_policy_violation")),
    ("openai", "overloaded", 503, openai("The engine is currently overloaded, please try again later.", None, "server_error")),
    ("openai", "overloaded", 500, openai("The server had an error while processing your request.", None, "server_error")),
    ("openai", "address", 404, openai("Invalid URL (POST /chat/completions)")),
    ("openai", "forbidden", 403, openai("Country, region, or territory not supported", "unsupported_country_region_territory")),
    ("azure", "context", 400, openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", "context_length_exceeded", param="messages")),
    ("azure", "key", 401, {"statusCode": 401, "message": "Access denied due to invalid subscription key."}),
    ("azure", "credit", 429, openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota")),
    ("azure", "model", 404, openai("The API deployment for this resource does not exist.", "DeploymentNotFound")),
    ("azure", "rate", 429, error({"code": "429", "message": "Requests exceeded the call rate limit. Retry after 12 seconds."})),
    ("azure", "rate", 429, error({"code": "NoCapacity", "message": "The system is currently experiencing high demand. Please retry later."})),
    ("azure", "refused", 400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "unsupported_parameter", param="max_tokens")),
    ("azure", "refused", 400, error({"code": "OperationNotSupported", "message": "The chatCompletion operation does not work with the specified model, x. Please choose different model."})),
    ("azure", "filtered", 400, openai("The response was filtered by the content management policy.", "content_filter")),
    ("azure", "filtered", 400, error({"code": "content_filter", "status": 400, "message": "The prompt triggered the policy.", "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}})),
    ("azure", "overloaded", 503, error({"code": "ServiceUnavailable", "message": "The service is temporarily unable to process your request."})),
    ("azure", "address", 404, error({"code": "404", "message": "Resource not found"})),
    ("anthropic", "context", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 208310 tokens > 200000 maximum"}}),
    ("anthropic", "context", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}),
    ("anthropic", "context", 413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}),
    ("anthropic", "key", 401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
    ("anthropic", "credit", 400, openai("Your credit balance is too low to access the API.", "invalid_request_error")),
    ("anthropic", "model", 404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-x"}}),
    ("anthropic", "rate", 429, {"type": "error", "error": {"type": "rate_limit_error", "message": "This would exceed your rate limit."}}),
    ("anthropic", "refused", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for x"}}),
    ("anthropic", "refused", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "temperature: range: 0..1"}}),
    ("anthropic", "filtered", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}}),
    ("anthropic", "overloaded", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ("anthropic", "overloaded", 500, {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}),
    ("anthropic", "address", 404, {"type": "error", "error": {"type": "not_found_error", "message": "Not found"}}),
    ("anthropic", "forbidden", 403, {"type": "error", "error": {"type": "permission_error", "message": "Your API key does not have permission to use the specified resource."}}),
    ("gemini", "context", 400, gemini(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")),
    ("gemini", "key", 400, gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")),
    ("gemini", "credit", 429, gemini(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.")),
    ("gemini", "model", 404, gemini(404, "NOT_FOUND", "models/x is not found for API version v1, or is not supported.")),
    ("gemini", "rate", 429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded. Please retry in 5s.")),
    ("gemini", "refused", 400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
    ("gemini", "refused", 400, gemini(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.')),
    ("gemini", "filtered", 400, gemini(400, "INVALID_ARGUMENT", "The prompt was blocked for safety.")),
    ("gemini", "overloaded", 503, gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    ("gemini", "overloaded", 504, gemini(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again.")),
    ("gemini", "address", 404, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title><p>The requested URL was not found on this server."),
    ("gemini", "forbidden", 403, gemini(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers. Please use API Key.")),
    ("mistral", "context", 400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}),
    ("mistral", "key", 401, {"message": "Unauthorized", "request_id": "1"}),
    ("mistral", "credit", 402, {"detail": "Payment required"}),
    ("mistral", "model", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}),
    ("mistral", "rate", 429, {"message": "Requests rate limit exceeded"}),
    ("mistral", "rate", 429, {"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "code": "3505"}),
    ("mistral", "refused", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]}),
    ("mistral", "filtered", 400, {"object": "error", "message": "The input was flagged by our moderation service.", "type": "invalid_request_error"}),
    ("mistral", "overloaded", 503, {"object": "error", "message": "Service unavailable.", "type": "unreachable_backend", "code": "1100"}),
    ("mistral", "address", 404, {"message": "no Route matched with those values"}),
    ("deepseek", "context", 400, openai("This model's maximum context length is 65536 tokens. You requested 70000 tokens.", "invalid_request_error")),
    ("deepseek", "key", 401, openai("Authentication Fails (no such user)", "invalid_request_error", "authentication_error")),
    ("deepseek", "credit", 402, openai("Insufficient Balance", "invalid_request_error", "unknown_error")),
    ("deepseek", "model", 400, openai("Model Not Exist", "invalid_request_error")),
    ("deepseek", "rate", 429, openai("Rate limit reached", "rate_limit_error")),
    ("deepseek", "refused", 422, openai("Failed to deserialize the JSON body into the target type: temperature: invalid type: string")),
    ("deepseek", "filtered", 400, openai("Content Exists Risk", "invalid_request_error")),
    ("deepseek", "overloaded", 503, openai("The server is overloaded", "service_unavailable")),
    ("deepseek", "address", 404, ""),
    ("openrouter", "context", 400, error({"code": 400, "message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"maximum context length is 10 tokens"}}'}})),
    ("openrouter", "context", 400, error({"code": 400, "message": "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens (9000 of text input)."})),
    ("openrouter", "key", 401, error({"code": 401, "message": "No auth credentials found"})),
    ("openrouter", "credit", 402, error({"code": 402, "message": "This request requires more credits, or fewer max_tokens."})),
    ("openrouter", "credit", 403, error({"code": 403, "message": "Key limit exceeded (total limit)."})),
    ("openrouter", "model", 400, error({"code": 400, "message": "x/y is not a valid model ID"})),
    ("openrouter", "model", 404, error({"code": 404, "message": "No endpoints found for x/y."})),
    ("openrouter", "rate", 429, error({"code": 429, "message": "Provider returned error", "metadata": {"raw": "x is temporarily rate-limited upstream."}})),
    ("openrouter", "rate", 429, error({"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"})),
    ("openrouter", "refused", 404, error({"code": 404, "message": "No endpoints found that support tool use."})),
    ("openrouter", "refused", 404, error({"code": 404, "message": "No endpoints found matching your data policy."})),
    ("openrouter", "filtered", 403, error({"code": 403, "message": "x/y requires moderation on Z. Your input was flagged for violence.", "metadata": {"reasons": ["violence"], "flagged_input": "…"}})),
    ("openrouter", "overloaded", 502, error({"code": 502, "message": "Provider returned error"})),
    ("openrouter", "overloaded", 503, error({"code": 503, "message": "No available model provider that meets your routing requirements"})),
    ("openrouter", "address", 404, "<!DOCTYPE html><html><title>Not Found</title></html>"),
    ("groq", "context", 400, openai("Please reduce the length of the messages or completion.", "context_length_exceeded")),
    ("groq", "key", 401, openai("Invalid API Key", "invalid_api_key")),
    ("groq", "credit", 400, openai("Your organization has reached its spend limit.", "blocked_api_access")),
    ("groq", "model", 400, openai("The model `x` has been decommissioned and is no longer supported.", "model_decommissioned")),
    ("groq", "model", 404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found")),
    ("groq", "rate", 413, openai("Request too large for model x on tokens per minute (TPM): Limit 6000, Requested 7000", "rate_limit_exceeded", "tokens")),
    ("groq", "rate", 429, openai("Rate limit reached. Please try again in 7m12.5s.", "rate_limit_exceeded", "tokens")),
    ("groq", "refused", 400, openai("property 'logit_bias' is unsupported")),
    ("groq", "overloaded", 498, openai("Flex tier capacity exceeded", "capacity_exceeded")),
    ("groq", "overloaded", 503, openai("Service Unavailable", None, "internal_server_error")),
    ("groq", "address", 404, openai("Unknown request URL: POST /openai/v1/x. Please check the URL for typos.", "unknown_url")),
    ("vllm", "context", 400, error({"object": "error", "message": "This model's maximum context length is 300 tokens. However, you requested 372 tokens in the messages. Please reduce the length of the messages.", "type": "BadRequestError", "param": None, "code": 400})),
    ("vllm", "context", 400, error({"message": "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8192 tokens and your request has 300 input tokens", "type": "BadRequestError", "code": 400})),
    ("vllm", "key", 401, {"error": "Unauthorized"}),
    ("vllm", "model", 404, error({"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", "code": 404})),
    ("vllm", "refused", 400, error({"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'x'), 'msg': 'Extra inputs are not permitted'}]", "type": "BadRequestError", "code": 400})),
    ("vllm", "refused", 400, error({"message": "max_tokens must be at least 1, got -5.", "type": "BadRequestError", "param": "max_tokens", "code": 400})),
    ("vllm", "overloaded", 503, error({"message": "The server is overloaded. Please retry.", "type": "ServiceUnavailableError", "code": 503})),
    ("vllm", "overloaded", 500, error({"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500})),
    ("vllm", "address", 404, {"detail": "Not Found"}),
    ("llamacpp", "context", 400, error({"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 20, "n_ctx": 10})),
    ("llamacpp", "context", 500, error({"code": 500, "message": "Context size has been exceeded.", "type": "server_error"})),
    ("llamacpp", "key", 401, error({"code": 401, "message": "Invalid API Key", "type": "authentication_error"})),
    ("llamacpp", "model", 400, error({"code": 400, "message": "model 'x' not found", "type": "invalid_request_error"})),
    ("llamacpp", "refused", 400, error({"code": 400, "message": "Unsupported param: echo", "type": "invalid_request_error"})),
    ("llamacpp", "overloaded", 503, error({"code": 503, "message": "Loading model", "type": "unavailable_error"})),
    ("llamacpp", "overloaded", 503, error({"code": 503, "message": "no slot available", "type": "unavailable_error"})),
    ("llamacpp", "address", 404, error({"code": 404, "message": "File Not Found", "type": "not_found_error"})),
    ("lmstudio", "context", 400, {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}),
    ("lmstudio", "key", 401, openai("Malformed LM Studio API token provided.", "invalid_api_key")),
    ("lmstudio", "model", 404, openai('No models loaded. Please load a model in the developer page.', "model_not_found")),
    ("lmstudio", "model", 404, openai('Failed to load model "x". Error: Model not found.', "model_not_found")),
    ("lmstudio", "refused", 400, {"error": "'temperature' must be a number"}),
    ("lmstudio", "overloaded", 400, {"error": "The model has crashed without additional information. (Exit code: 6)"}),
    ("lmstudio", "overloaded", 400, {"error": "Model is unloaded."}),
    ("lmstudio", "address", 200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
    ("ollama", "context", 400, openai("input length exceeds maximum context length", None, "api_error")),
    ("ollama", "key", 401, {"error": "unauthorized"}),
    ("ollama", "model", 404, openai('model "x" not found, try pulling it first', None, "api_error")),
    ("ollama", "model", 400, openai('model "x" is not loaded, and could not be found', None, "api_error")),
    ("ollama", "rate", 429, {"error": "you have reached your hourly usage limit, please upgrade to continue"}),
    ("ollama", "refused", 400, openai("registry.ollama.ai/library/x:latest does not support tools", None, "api_error")),
    ("ollama", "overloaded", 503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
    ("ollama", "overloaded", 500, openai("llama runner process has terminated: exit status 2", None, "api_error")),
    ("ollama", "address", 404, "404 page not found"),
    ("proxy", "context", 413, "<html>Request Entity Too Large</html>"),
    ("proxy", "overloaded", 502, "<html>Bad Gateway</html>"),
    ("proxy", "address", 404, "<!doctype html><h1>404</h1><p>nginx</p>"),
    ("proxy", "address", 405, "Method Not Allowed"),
    ("proxy", "address", 400, "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>"),
    ("proxy", "address", 400, "Client sent an HTTP request to an HTTPS server.\n"),
    ("proxy", "redirect", 307, None),
    ("other", "model", 404, openai("Nothing like this here, as requested.")),
    ("other", "refused", 400, openai("Something else.")),
    ("other", "refused", 451, None),
]  # fmt: skip


def _named(errors: list[tuple[str, str, int, Any]]) -> dict[str, ProviderError]:
    named: dict[str, ProviderError] = {}
    for each in errors:
        name, number = f"{each[0]}.{each[1]}", 1
        while (key := f"{name}-{number}" if number > 1 else name) in named:
            number += 1
        named[key] = ProviderError(*each)
    return named


PROVIDER_ERRORS = _named(_ERRORS)
