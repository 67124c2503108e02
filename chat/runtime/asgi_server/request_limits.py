"""What a client may send over HTTP, how much of it, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

# Of the request line and all headers together. Browsers send one or two kilobytes.
HEAD_MAX_BYTES = 16 * 1024
HEADERS_MAX = 100


def plain_refusal(path: str, status: HTTPStatus, reason: str) -> tuple[dict[str, str], str]:
    """Return the headers and the body of a response without any markup."""
    return {"Content-Type": "text/plain; charset=utf-8"}, f"{status.phrase}. {reason}\n"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of a server.

    `body_max_bytes`: the largest body by path. `refusal`: headers and body of a refused request's
    response, from path, status and a sentence for people. Both receive the path as it was sent.

    `head_s`: seconds from the first byte of a request to the end of its headers. `body_stall_s`: seconds
    between two pieces of a body; after as many seconds it must also have arrived at `body_bytes_per_s` on
    average. `idle_s`: seconds between two requests of a connection. `linger_s`: seconds for which the rest of
    a refused request is read and discarded, so that its client can read the response.

    `incomplete_max_bytes`: all bodies together that are still arriving. They are in temporary files.
    """

    body_max_bytes: Callable[[str], int] = lambda path: 1024 * 1024
    refusal: Callable[[str, HTTPStatus, str], tuple[dict[str, str], str]] = plain_refusal
    head_s: float = 20.0
    body_stall_s: float = 30.0
    body_bytes_per_s: int = 1024
    idle_s: float = 60.0
    linger_s: float = 10.0
    incomplete_max_bytes: int = 512 * 1024 * 1024
