"""The ASGI application: pages over HTTP, the chat over a websocket."""

import os
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import WebsocketDenier
from django import setup
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.urls import path, re_path

setup(set_prefix=False)

from chat.api.responses.socket import ResponsesConsumer  # noqa: E402
from chat.views import origins  # noqa: E402 - models can be imported only after the line above
from chat.websocket.consumer import ChatConsumer  # noqa: E402
from chatsite.forwarded import Application, Forwarded  # noqa: E402
from chatsite.handler import SiteHandler  # noqa: E402
from chatsite.probe import Probe  # noqa: E402

http = Probe(SiteHandler())

DEFAULT_PORTS = {"http": 80, "https": 443}


class SameOrigin:
    """Accepts websockets only from pages of this site: the same scheme, host and port.

    A browser sends the cookies of a site with every websocket to it, also from pages of other sites. Only the
    Origin header tells them apart, so a client without one is refused. Unlike in Channels' own check, another
    port of an allowed host is another site.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        application = self._application
        if not is_same_origin(scope):
            application = WebsocketDenier.as_asgi()
            headers = dict(scope["headers"])
            origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
            if origins.is_this_site(origin, host):
                origins.report(origin)
        await application(scope, receive, send)


def is_same_origin(scope: dict[str, Any]) -> bool:
    """Return whether the Origin of a websocket is the site that it connects to."""
    headers = dict(scope["headers"])
    origin = _site(headers.get(b"origin", b"").decode("latin-1"))
    if origin is None:
        return False
    if settings.PUBLIC_URL and origin == _site(settings.PUBLIC_URL):
        return True
    host = headers.get(b"host", b"").decode("latin-1")
    domain, _port = split_domain_port(host)
    scheme = "https" if scope.get("scheme") == "wss" else "http"  # wss: a trusted proxy said so
    return validate_host(domain, settings.ALLOWED_HOSTS) and origin == _site(f"{scheme}://{host}")


def _site(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL, None if it lacks one of them."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


pages = SameOrigin(URLRouter([path("ws/", ChatConsumer.as_asgi()), re_path("", WebsocketDenier.as_asgi())]))
# Programs send an API key, which no page of another site can do: browsers set no headers of websockets.
websocket = URLRouter([path("v1/responses", ResponsesConsumer.as_asgi()), re_path("", pages)])  # type: ignore[arg-type]

application = Forwarded(ProtocolTypeRouter({"http": http, "websocket": websocket}), settings.TRUSTED_PROXIES)
