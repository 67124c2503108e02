"""The connections to endpoints, through the OpenAI SDK.

The SDK is responsible for authentication, URLs and connections. It is asked for them once for each endpoint:
its `post` builds and checks options, URL and headers for each request, which takes longer than sending it.
The only retry loop of this program is in `stream.py`. The bytes of a stream are decoded by `sse.py`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from chat.upstream import errors
from chat.upstream.translate import translated

if TYPE_CHECKING:
    import httpx2
    import openai

# How long an idle connection is kept; the SDK's default is 5 s.
KEEPALIVE_S = 300.0
MAX_CONNECTIONS = 2000
HEADER_MAX_BYTES = 64 * 1024
# Lists of models; the longest known ones have one megabyte.
ANSWER_MAX_BYTES = 8 * 1024 * 1024
# Of an error's body; the rest is not read.
ERROR_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request to an endpoint, with the body as in the protocol.

    `encoded_messages`: messages before those of `body`, as JSON objects separated by commas, cut anywhere.
    """

    base_url: str
    api_key: str
    body: dict[str, Any]
    connect_timeout_s: float
    encoded_messages: Sequence[bytes] = ()
    path: str = "/chat/completions"
    # The endpoint's names for it, once it has answered: one, or none.
    ids: list[str] = field(default_factory=list)

    def slices(self) -> list[bytes]:
        """Return the body as JSON. Large messages stay in slices: joining them would block the event loop."""
        if "messages" not in self.body:
            return [msgspec.json.encode(self.body)]
        rest = {name: value for name, value in self.body.items() if name != "messages"}
        messages = b",".join(map(msgspec.json.encode, self.body["messages"]))
        comma = b"," if self.encoded_messages and messages else b""
        head = msgspec.json.encode(rest)[:-1] + b',"messages":['
        slices = [head, *self.encoded_messages, comma + messages + b"]}"]
        return slices if self.encoded_messages else [b"".join(slices)]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A response to a GET request. `body`: at most ANSWER_MAX_BYTES of it."""

    status: int
    body: bytes


class Client:
    """The connections of one event loop; one per process, closed when it drains."""

    def __init__(self) -> None:
        self._http: httpx2.AsyncClient | None = None
        # `prepare` runs on a thread while the first request may call it on the loop.
        self._lock = threading.Lock()
        self._is_closed = False
        self._clients: dict[tuple[str, str], openai.AsyncOpenAI] = {}
        # By base URL, key and path: where a request goes, and its headers.
        self._addresses: dict[tuple[str, str, str], tuple[httpx2.URL, list[tuple[str, str]]]] = {}

    def prepare(self) -> None:
        """Import the SDK, which takes most of a second, before the first request."""
        # Not imported at the top: migrations, the admin and most commands do not need it (60 MB).
        import httpx2
        import openai

        with self._lock:
            if self._http is None and not self._is_closed:
                self._http = openai.DefaultAioHttpClient(
                    limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_S),
                    # The API key must not be sent to another host.
                    follow_redirects=False,
                )
                _accept_long_headers(self._http)

    @asynccontextmanager
    async def open(self, request: UpstreamRequest) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a request and yield the bytes of the response as they arrive.

        Leaving the context closes the connection. Raises UpstreamError, from sending and from reading.
        """
        with translated(request.api_key, on_disconnect=errors.Unreachable):
            response = await self._send(request)
            try:
                yield _reads(response.aiter_bytes(), request.api_key)
            finally:
                await response.aclose()

    async def _send(self, request: UpstreamRequest) -> httpx2.Response:
        """Return the response, whose body is not read yet. Raises openai.APIStatusError if it is an error."""
        import httpx2

        url, headers = self._address(request)
        assert self._http is not None, "the client is closed"
        slices = request.slices()
        # Not every server reads a body of unknown length.
        length = ("Content-Length", str(sum(map(len, slices))))
        sent = httpx2.Request(
            "POST",
            url,
            headers=[*headers, length],
            content=slices[0] if len(slices) == 1 else _sent(slices),
            extensions={"timeout": {"connect": request.connect_timeout_s}},
        )
        response = await self._http.send(sent, stream=True)
        if request_id := response.headers.get("x-request-id"):
            request.ids.append(request_id)
        if not response.is_success:
            raise await _status_error(response)
        return response

    def _address(self, request: UpstreamRequest) -> tuple[httpx2.URL, list[tuple[str, str]]]:
        import httpx2

        key = (request.base_url, request.api_key, request.path)
        if key not in self._addresses:
            sdk = self.sdk(request.base_url, request.api_key)
            assert self._http is not None
            headers = httpx2.Headers(self._http.headers)
            # Some values are markers of the SDK for headers that are not sent.
            given = {**sdk.default_headers, **sdk.auth_headers}
            headers.update({name: value for name, value in given.items() if isinstance(value, str)})
            path = sdk.base_url.raw_path + request.path.removeprefix("/").encode()
            self._addresses[key] = (sdk.base_url.copy_with(raw_path=path), [*headers.items()])
        return self._addresses[key]

    async def read(self, url: str, api_key: str, *, timeout_s: float) -> HttpAnswer:
        """Send a GET request, without the key if there is none. Raises UpstreamError."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        with translated(api_key, on_disconnect=errors.Unreachable):
            self.prepare()
            assert self._http is not None, "the client is closed"
            try:
                async with (
                    asyncio.timeout(timeout_s),
                    self._http.stream("GET", url, headers=headers, timeout=None) as response,
                ):
                    body = bytearray()
                    async for data in response.aiter_bytes():
                        body += data
                        if len(body) >= ANSWER_MAX_BYTES:
                            break
                    return HttpAnswer(response.status_code, bytes(body[:ANSWER_MAX_BYTES]))
            except TimeoutError:
                raise errors.FirstTokenTimedOut(f"no answer within {timeout_s:g} s") from None

    def sdk(self, base_url: str, api_key: str) -> openai.AsyncOpenAI:
        """Return the SDK's client of an endpoint, without retries."""
        import openai

        self.prepare()
        key = (base_url, api_key)
        if key not in self._clients:
            self._clients[key] = openai.AsyncOpenAI(
                base_url=base_url,
                # The SDK requires a key; local servers accept any.
                api_key=api_key or "none",
                max_retries=0,
                http_client=self._http,
            )
        return self._clients[key]

    async def close(self) -> None:
        """Close all connections; the client makes no further ones."""
        self._clients.clear()
        self._addresses.clear()
        with self._lock:
            http, self._http, self._is_closed = self._http, None, True
        if http is not None:
            await http.aclose()


def _accept_long_headers(http: httpx2.AsyncClient) -> None:
    """Let responses have headers of 64 kB: gateways send long policies and cookies. The default is 8 kB.

    The transport makes its session on first use, on the event loop.
    """
    import aiohttp

    transport: Any = getattr(http, "_transport", None)

    def new_session() -> aiohttp.ClientSession:
        transport.client = None
        made: aiohttp.ClientSession = transport.get_client()
        connector = made.connector
        made.detach()
        return aiohttp.ClientSession(
            connector=connector, max_line_size=HEADER_MAX_BYTES, max_field_size=HEADER_MAX_BYTES
        )

    if transport is not None:
        transport.client = new_session


async def _sent(slices: Sequence[bytes]) -> AsyncIterator[bytes]:
    for data in slices:
        yield data


async def _status_error(response: httpx2.Response) -> openai.APIStatusError:
    """Read the body of an error and close the response."""
    import openai

    try:
        text = bytearray()
        async for data in response.aiter_bytes():
            text += data
            if len(text) >= ERROR_MAX_BYTES:
                break
    finally:
        await response.aclose()
    try:
        body = json.loads(text)
    except ValueError:
        body = text.decode(errors="replace").strip()
    error = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(f"HTTP {response.status_code}", response=response, body=error)


async def _reads(reads: AsyncIterator[bytes], api_key: str) -> AsyncIterator[bytes]:
    with translated(api_key, on_disconnect=errors.Cut):
        async for data in reads:
            yield data
