"""Answers the liveness probe, `/healthz`, without Django: supervisors and load balancers ask all the time."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from chatsite.forwarded import Application

PATH = "/healthz"
BODY = b"ok"
HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(BODY)).encode()),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Probe:
    """Answers GET and HEAD of `/healthz` for an allowed host; passes everything else on.

    It runs on the event loop, and so it says that the event loop runs. Django answers other methods and
    hosts: with an error.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] != PATH or scope["method"] not in {"GET", "HEAD"} or not _is_allowed(scope):
            await self._application(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY if scope["method"] == "GET" else b""})


def _is_allowed(scope: dict[str, Any]) -> bool:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    domain, _port = split_domain_port(hosts[0].decode("latin-1")) if len(hosts) == 1 else ("", "")
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
