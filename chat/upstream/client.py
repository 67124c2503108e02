"""The connections to endpoints, through the OpenAI SDK.

The SDK is responsible for authentication, URLs and connections. Its retries are off: the only retry loop
of this program is in `stream.py`. The bytes of a stream are decoded by `sse.py`.
"""

from __future__ import annotations

import asyncio
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
# Makes the SDK return the response unread, as its `with_streaming_response` does.
STREAM_HEADER = "X-Stainless-Raw-Response"


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
        return [head, *self.encoded_messages, comma + messages + b"]}"]


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
            import httpx2
            import openai

            slices = request.slices()
            # Not `chat.completions.create`: it checks and encodes every message on the event loop.
            response: Any = await self.sdk(request.base_url, request.api_key).post(
                request.path,
                cast_to=openai.AsyncAPIResponse[bytes],
                content=_sent(slices),
                options={
                    "headers": {STREAM_HEADER: "stream", "Content-Length": str(sum(map(len, slices)))},
                    "timeout": httpx2.Timeout(None, connect=request.connect_timeout_s),
                },
                stream=True,
                stream_cls=openai.AsyncStream[Any],
            )
            if request_id := response.headers.get("x-request-id"):
                request.ids.append(request_id)
            try:
                yield _reads(response.iter_bytes(), request.api_key)
            finally:
                await response.close()

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


async def _reads(reads: AsyncIterator[bytes], api_key: str) -> AsyncIterator[bytes]:
    with translated(api_key, on_disconnect=errors.Cut):
        async for data in reads:
            yield data
