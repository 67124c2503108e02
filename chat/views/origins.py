"""The address of this site in the browser, and whether the site knows it.

A proxy that ends TLS makes it another address than the server sees. Forms and sockets from it are then
refused like those of another site, until CHATSITE_PUBLIC_URL names it.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.http import HttpRequest

logger = logging.getLogger(__name__)

# Any client can send any Origin, so no more than this many are logged.
REPORTED_MAX = 20
reported: set[str] = set()


def known_addresses(request: HttpRequest) -> list[str]:
    """Return the addresses whose forms and sockets are accepted."""
    seen = f"{request.scheme}://{request.get_host()}"
    return [seen, settings.PUBLIC_URL] if settings.PUBLIC_URL else [seen]


def unknown_address(request: HttpRequest) -> str:
    """Return the address in the browser if it is one of this site that the site does not know, else ""."""
    origin = request.headers.get("origin", "")
    if origin in known_addresses(request):
        return ""
    is_own = is_this_site(origin, request.get_host(), request.headers.get("sec-fetch-site", ""))
    return origin if is_own else ""


def is_this_site(origin: str, host: str, fetch_site: str = "") -> bool:
    """Return whether a request with an unknown Origin comes from a page of this site behind a proxy.

    Browsers say so in Sec-Fetch-Site. Without that header, it does if a proxy changed nothing but the scheme.
    """
    if fetch_site:
        return fetch_site == "same-origin" and origin.startswith("http")
    return origin.lower() == f"https://{host.lower()}"


def report(address: str) -> None:
    """Log what an operator can do about an unknown address, once for each."""
    if address in reported or len(reported) >= REPORTED_MAX:
        return
    reported.add(address)
    logger.warning(
        "Forms and websockets from %r are refused: the site does not know this address. If a proxy in front "
        "ends TLS, set CHATSITE_PUBLIC_URL to the address in the browser, and restart. It is %r now.",
        address,
        settings.PUBLIC_URL,
    )
