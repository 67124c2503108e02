"""Who really asks when a proxy stands in front: `X-Forwarded-For` and `-Proto`, from proxies we trust."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

type Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The same for a request and for a websocket.
SCHEMES = {b"http": {"http": "http", "websocket": "ws"}, b"https": {"http": "https", "websocket": "wss"}}


class Forwarded:
    """Give an application the client and the scheme that trusted proxies tell of.

    Anybody can send these headers, so what anybody else says in them changes nothing.
    """

    def __init__(self, application: Application, trusted: Sequence[Network]) -> None:
        self._application = application
        self._trusted = trusted

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self._application(self._seen(scope), receive, send)

    def _seen(self, scope: dict[str, Any]) -> dict[str, Any]:
        peer = _address((scope.get("client") or ("",))[0])
        if peer is None or not self._is_trusted(peer):
            return scope
        client = self._client(peer, _values(scope, b"x-forwarded-for"))
        schemes = SCHEMES.get(b"".join(_values(scope, b"x-forwarded-proto")).lower(), {})
        seen = scope | {"client": [str(client), 0]}
        if scope["type"] in schemes:
            seen["scheme"] = schemes[scope["type"]]
        return seen

    def _client(self, peer: Address, hops: list[bytes]) -> Address:
        """Return the last hop that is no proxy of ours: each proxy appends whom it saw."""
        while self._is_trusted(peer) and hops and (hop := _address(hops.pop().decode("latin-1"))):
            peer = hop
        return peer

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _values(scope: dict[str, Any], name: bytes) -> list[bytes]:
    """Return the values of a header that may come more than once and hold a list each."""
    lines: Iterable[bytes] = (value for key, value in scope["headers"] if key == name)
    return [value.strip() for line in lines for value in line.split(b",")]


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
