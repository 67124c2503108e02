"""Bodies and headers of error responses, in the formats that providers use."""

import json
import math
import time
from email.utils import formatdate
from typing import Any

from chat.fakeprovider.behaviours import Fault

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
HTML = "<!doctype html><title>{title}</title><h1>{title}</h1><p>nginx</p>"


def error(
    status: int, message: str, *, code: str | int | None = None, type: str = "", **more: Any
) -> dict[str, Any]:
    """Return an error document in OpenAI's format."""
    type = type or _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return {
        "error": {"message": message, "type": type, "param": None, "code": code or _CODES.get(status)} | more
    }


def error_of(fault: Fault) -> dict[str, Any]:
    """Return the error document of a fault."""
    code = int(fault.code) if fault.code.isdigit() else fault.code or None
    type = fault.type or (fault.code if fault.code == "insufficient_quota" else "")
    return error(fault.status, fault.message or f"fake {fault.status}, as requested", code=code, type=type)


def headers_of(fault: Fault) -> dict[str, str]:
    """Return the headers of a fault."""
    headers = {"retry-after": fault.retry_after, "retry-after-ms": fault.retry_after_ms}
    if fault.retry_after_date:
        headers["retry-after"] = formatdate(math.ceil(time.time() + fault.retry_after_date), usegmt=True)
    headers["x-should-retry"] = fault.should_retry
    return {name: value for name, value in headers.items() if value}


def body_of(fault: Fault) -> tuple[str, bytes]:
    """Return the content type and body of an error response."""
    if fault.body == "html":
        return "text/html", HTML.format(title=fault.status).encode()
    if fault.body == "empty":
        return "text/plain", b""
    return encoded(error_of(fault))


def encoded(document: Any) -> tuple[str, bytes]:
    """Return the content type and body of a JSON document, or of a text; None is an empty body."""
    if isinstance(document, dict | list):
        return "application/json", json.dumps(document).encode()
    return "text/html" if "<" in (document or "") else "text/plain", (document or "").encode()


def context_exceeded(style: str, limit: int, words: int) -> dict[str, Any]:
    """Return the error document for a prompt that exceeds the context; `style`: whose format."""
    if style == "llama":
        message = "the request exceeds the available context size, try increasing it"
        more = {"n_prompt_tokens": words, "n_ctx": limit}
        return error(400, message, code=400, type="exceed_context_size_error", **more)
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
        f"{words} tokens. Please reduce the length of the messages."
    )
    return error(400, message, code="context_length_exceeded")
