"""The limits of HTTP requests by path, and the responses to requests that exceed one.

The web server checks them while a request arrives, before Django sees it. docs/operate.md lists them.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import lru_cache
from http import HTTPStatus

from django.conf import settings
from django.template.loader import render_to_string

from chat.runtime.asgi_server import RequestLimits

# Sign-in, registration, search, and every path that is unknown.
SMALL_BODY_MAX_BYTES = 64 * 1024
# Forms with a message or a system prompt.
FORM_PATHS = ("/ask/", "/c/", "/m/", "/preferences/", "/admin/")
# Requests of programs with messages, images and files.
PROMPT_PATHS = frozenset(
    {"/v1/chat/completions", "/v1/responses", "/v1/responses/input_tokens", "/v1/embeddings"}
)
# Files of requests.
UPLOAD_PATHS = frozenset({"/batches/new/", "/v1/files"})
API_PATH = "/v1/"
# One file, as it is.
ATTACHMENT_PATH = "/attachments/"
PROJECT_FILE = re.compile(r"/projects/[0-9]{1,18}/files/")
# A file to import arrives in parts, which the page makes.
IMPORT_PART = re.compile(r"/import/[0-9a-f-]{36}/part/")
IMPORT_PART_MAX_BYTES = 4 * 1024 * 1024

# The codes of the API's own errors, where there is one.
CODE_OF = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.SERVICE_UNAVAILABLE: "busy",
}


def body_max_bytes(path: str) -> int:
    """Return the largest body that is accepted at a path."""
    if path in UPLOAD_PATHS:
        # The fields beside the file are small.
        return settings.BATCH_UPLOAD_MAX_BYTES + SMALL_BODY_MAX_BYTES
    if path == ATTACHMENT_PATH:
        return settings.ATTACHMENT_MAX_BYTES
    if PROJECT_FILE.fullmatch(path):
        # The fields beside the file are small.
        return settings.ATTACHMENT_MAX_BYTES + SMALL_BODY_MAX_BYTES
    if path in PROMPT_PATHS:
        return settings.API_BODY_MAX_BYTES
    if IMPORT_PART.fullmatch(path):
        return IMPORT_PART_MAX_BYTES
    if path.startswith(FORM_PATHS):
        return settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return SMALL_BODY_MAX_BYTES


def refusal(path: str, status: HTTPStatus, reason: str) -> tuple[dict[str, str], str]:
    """Return the headers and the body of a refused request's response: JSON for programs, or a page."""
    if not path.startswith(API_PATH):
        return {"Content-Type": "text/html; charset=utf-8"}, _page(status, reason)
    headers = {"Content-Type": "application/json", "x-request-id": f"req_{secrets.token_hex(12)}"}
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        headers["x-should-retry"] = "false"
    return headers, _error(status, reason)


def _error(status: HTTPStatus, reason: str) -> str:
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    code = CODE_OF.get(status, "malformed_request")
    message = f"The request was refused. {reason}"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


@lru_cache(maxsize=32)
def _page(status: HTTPStatus, reason: str) -> str:
    return render_to_string(
        "refused.html", {"status": int(status), "phrase": status.phrase, "reason": reason}
    )


def http_limits() -> RequestLimits:
    """Return the limits of this site's web server."""
    return RequestLimits(body_max_bytes=body_max_bytes, refusal=refusal)
