"""HTTP/1.1 written by hand, so that it can fail at every point."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 256 * 1024 * 1024
_TLS_HANDSHAKE = b"\x16"
# Above this, the server waits until the client has read more.
_HIGH_WATER_BYTES = 1024 * 1024
_REASONS = {529: "Overloaded"} | {status.value: status.phrase for status in HTTPStatus}


class ClientDisconnected(Exception):
    """The client closed or lost the connection."""


class MalformedRequest(Exception):
    """The bytes received are not an HTTP request."""


@dataclass(frozen=True)
class ProviderRequest:
    """One HTTP request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed JSON body, or None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _WatchingProtocol(asyncio.StreamReaderProtocol):
    """Notice at once, even during a response, that the client disconnected."""

    def __init__(self, serve: "Callable[[HttpConnection], Coroutine[Any, Any, None]]") -> None:
        self.disconnected = asyncio.Event()
        self.disconnected_at = 0.0
        self._serve = serve
        super().__init__(asyncio.StreamReader(limit=_MAX_HEAD_BYTES), self._begin)

    async def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(HttpConnection(reader, writer, self))

    def _note_disconnect(self) -> None:
        if not self.disconnected.is_set():
            self.disconnected_at = asyncio.get_running_loop().time()
            self.disconnected.set()

    def eof_received(self) -> bool:
        self._note_disconnect()
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._note_disconnect()
        super().connection_lost(exc)


async def listen(
    serve: "Callable[[HttpConnection], Coroutine[Any, Any, None]]",
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Accept connections and run `serve` for each."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _WatchingProtocol(serve), host, port, backlog=1024, ssl=tls)


class HttpConnection:
    """One connection: reads requests, writes responses, and can be broken on purpose."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: _WatchingProtocol
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._is_chunked = False
        self._transport = writer.transport
        self._protocol = protocol
        self.disconnected = protocol.disconnected
        self.is_reusable = True
        self.sent_bytes = 0
        self.socket: socket.socket = writer.get_extra_info("socket")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def read(self) -> ProviderRequest | None:
        """Return the next request, or None after the client's last one. Raises MalformedRequest."""
        try:
            first = await self._reader.readexactly(1)
            if first == _TLS_HANDSHAKE:
                raise MalformedRequest("this port does not speak TLS")
            head = first + await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except asyncio.LimitOverrunError as exc:
            raise MalformedRequest("the headers are too long") from exc
        try:
            method, target, headers = _parse_head(head.decode("latin-1"))
            if headers.get("expect", "").lower() == "100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await self._read_body(headers)
        except ValueError as exc:
            raise MalformedRequest(str(exc)) from exc
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.is_reusable = headers.get("connection", "").lower() != "close"
        self.sent_bytes = 0
        return ProviderRequest(method, parts.path, query, headers, body)

    async def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            return await self._read_chunks()
        size = int(headers.get("content-length") or 0)
        if not 0 <= size <= _MAX_BODY_BYTES:
            raise ValueError("the body is too long")
        return await self._reader.readexactly(size)

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            if len(body) + size > _MAX_BODY_BYTES:
                raise ValueError("the body is too long")
            body += (await self._reader.readexactly(size + 2))[:-2]
        while (await self._reader.readline()).strip():
            pass
        return bytes(body)

    def head(
        self, status: int, headers: Mapping[str, str], *, size: int | None = None, close: bool = False
    ) -> None:
        """Write status and headers. Without `size`, a last chunk or the close marks the body's end."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'UnknownDirective')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._is_chunked = size is None and not close
        self.is_reusable = self.is_reusable and not close
        if self._is_chunked:
            lines.append("Transfer-Encoding: chunked")
        elif size is not None:
            lines.append(f"Content-Length: {size}")
        lines.append(f"Connection: {'keep-alive' if self.is_reusable else 'close'}")
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))

    def body(self, data: bytes) -> None:
        """Write one piece of the body."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    def end(self) -> None:
        """Mark the end of the body."""
        if self._is_chunked:
            self.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        if self.disconnected.is_set():
            raise ClientDisconnected
        self._transport.write(data)
        self.sent_bytes += len(data)

    @property
    def disconnected_at(self) -> float:
        """When the client disconnected, by the loop's clock."""
        return self._protocol.disconnected_at

    @property
    def is_full(self) -> bool:
        return self._transport.get_write_buffer_size() > _HIGH_WATER_BYTES

    async def drain(self) -> None:
        """Wait until the client has read enough. Raises ClientDisconnected."""
        try:
            await self._writer.drain()
        except ConnectionError as exc:
            raise ClientDisconnected from exc
        if self.disconnected.is_set():
            raise ClientDisconnected

    async def pause(self, delay_s: float | None, until: asyncio.Event | None = None) -> bool:
        """Wait `delay_s` (None: without limit) or until `until` is set; return whether it is.

        Raises ClientDisconnected.
        """
        waits = [asyncio.create_task(event.wait()) for event in (self.disconnected, until) if event]
        try:
            await asyncio.wait(waits, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.disconnected.is_set():
            raise ClientDisconnected
        return bool(until and until.is_set())

    def reset(self) -> None:
        """Send a TCP reset."""
        self.is_reusable = False
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        """Close the connection after the data written so far is sent."""
        self.is_reusable = False
        self._writer.close()

    def abort(self) -> None:
        self._transport.abort()


def _parse_head(text: str) -> tuple[str, str, dict[str, str]]:
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    method, target, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("this is not HTTP/1.1")
    fields = (line.partition(":") for line in lines)
    return method, target, {name.strip().lower(): value.strip() for name, _, value in fields}
