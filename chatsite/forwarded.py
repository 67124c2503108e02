"""The client's address and scheme behind a proxy: `X-Forwarded-For` and `-Proto`, from trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

type Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The scheme of a request and of a websocket, by the header's value.
SCHEMES = {b"http": {"http": "http", "websocket": "ws"}, b"https": {"http": "https", "websocket": "wss"}}


class Forwarded:
    """Sets the client and the scheme of a connection from the headers of trusted proxies.

    Any client can send these headers, so they are ignored unless the peer is a trusted proxy.
    """

    def __init__(self, application: Application, trusted: Sequence[Network]) -> None:
        self._application = application
        self._trusted = trusted

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self._application(self._corrected(scope), receive, send)

    def _corrected(self, scope: dict[str, Any]) -> dict[str, Any]:
        peer = _address((scope.get("client") or ("",))[0])
        if peer is None or not self._is_trusted(peer):
            return scope
        client = self._client(peer, _values(scope, b"x-forwarded-for"))
        schemes = SCHEMES.get(b"".join(_values(scope, b"x-forwarded-proto")).lower(), {})
        corrected = scope | {"client": [str(client), 0]}
        if scope["type"] in schemes:
            corrected["scheme"] = schemes[scope["type"]]
        return corrected

    def _client(self, peer: Address, hops: list[bytes]) -> Address:
        """Return the last hop that is not a trusted proxy; each proxy appends the peer that it saw."""
        while self._is_trusted(peer) and hops and (hop := _address(hops.pop().decode("latin-1"))):
            peer = hop
        return peer

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _values(scope: dict[str, Any], name: bytes) -> list[bytes]:
    """Return the values of a header that may be repeated, each time with a list."""
    lines: Iterable[bytes] = (value for key, value in scope["headers"] if key == name)
    return [value.strip() for line in lines for value in line.split(b",")]


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
