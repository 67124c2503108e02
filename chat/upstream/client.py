"""The wire to an endpoint. The only file that imports the OpenAI SDK, and where its errors become ours.

The SDK owns authentication, URLs and connections. Its retries are off: there is one retry loop in
this program, in `stream.py`. The bytes of a stream are decoded by `sse.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from chat.upstream import errors

if TYPE_CHECKING:
    import httpx2
    import openai

# An idle chat keeps its connection this long; the SDK's own default is 5 s.
KEEPALIVE_S = 300.0
MAX_CONNECTIONS = 2000


@dataclass(frozen=True, slots=True)
class Call:
    """One request: where to, with what key, and the body as the protocol has it."""

    base_url: str
    api_key: str
    body: dict[str, Any]
    connect_timeout_s: float


class Client:
    """The connections of one event loop. Made once per process, closed when it drains."""

    def __init__(self) -> None:
        self._http: httpx2.AsyncClient | None = None
        self._clients: dict[tuple[str, str], openai.AsyncOpenAI] = {}

    def prepare(self) -> None:
        """Import the SDK now, which takes most of a second, rather than at the first question."""
        # Not at the top of the file: migrations, the admin and most commands do without it (60 MB).
        import httpx2
        import openai

        if self._http is None:
            self._http = openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_S),
                # The key must not travel to another host.
                follow_redirects=False,
            )

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send `call` and give its answer's bytes as they arrive; leaving closes the connection.

        Raises UpstreamError, from the request and from reading.
        """
        with _translated(call.api_key, lost=errors.Unreachable):
            import httpx2

            completions = self._client(call.base_url, call.api_key).chat.completions
            request = completions.with_streaming_response.create(
                model=call.body["model"],
                messages=call.body["messages"],
                stream=True,
                extra_body={k: v for k, v in call.body.items() if k not in {"model", "messages", "stream"}},
                timeout=httpx2.Timeout(None, connect=call.connect_timeout_s),
            )
            async with request as response:
                yield _reads(response.iter_bytes(), call.api_key)

    def _client(self, base_url: str, api_key: str) -> openai.AsyncOpenAI:
        import openai

        self.prepare()
        key = (base_url, api_key)
        if key not in self._clients:
            self._clients[key] = openai.AsyncOpenAI(
                base_url=base_url,
                # The SDK insists on a key; local servers take any.
                api_key=api_key or "none",
                max_retries=0,
                http_client=self._http,
            )
        return self._clients[key]

    async def close(self) -> None:
        self._clients.clear()
        if self._http is not None:
            await self._http.aclose()
            self._http = None


async def _reads(reads: AsyncIterator[bytes], api_key: str) -> AsyncIterator[bytes]:
    with _translated(api_key, lost=errors.Cut):
        async for data in reads:
            yield data


@contextmanager
def _translated(api_key: str, *, lost: type[errors.UpstreamError]) -> Iterator[None]:
    """Turn what the SDK and its transport raise into UpstreamError; a lost connection into `lost`."""
    import aiohttp
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as exc:
        raise _from_status(exc, api_key) from exc
    except openai.APIConnectionError as exc:
        # The aiohttp transport calls every lost connection a time-out; its cause tells the truth.
        is_timeout = any(isinstance(cause, TimeoutError) for cause in _causes(exc))
        kind = errors.ConnectTimedOut if is_timeout else errors.Unreachable
        raise kind(errors.redacted(_innermost(exc), api_key)) from exc
    except openai.OpenAIError as exc:
        raise errors.Rejected(errors.redacted(str(exc), api_key)) from exc
    except (httpx2.HTTPError, aiohttp.ClientError, OSError, EOFError) as exc:
        raise lost(errors.redacted(_innermost(exc), api_key)) from exc
    except (httpx2.InvalidURL, UnicodeError, ValueError) as exc:
        raise errors.Unreachable(errors.redacted(str(exc), api_key), retryable=False) from exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _innermost(exc: BaseException) -> str:
    *_outer, last = _causes(exc)
    return str(last) or type(last).__name__


def _from_status(exc: openai.APIStatusError, api_key: str) -> errors.UpstreamError:
    """Say what a status and its body mean."""
    body = exc.body if isinstance(exc.body, dict) else {}
    words = {str(body.get("code") or ""), str(body.get("type") or "")}
    status = exc.status_code
    detail = errors.redacted(f"HTTP {status}: {_said(exc)}", api_key)
    headers = exc.response.headers
    if words & {"context_length_exceeded", "exceed_context_size_error"}:
        return errors.ContextTooLong(detail, fits=_fits(body), status=status)
    if words & {"content_filter", "content_policy_violation"}:
        return errors.ContentFiltered(detail, status=status)
    if "insufficient_quota" in words:
        return errors.QuotaExhausted(detail, status=status)
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = errors.Redirected if status < 400 else errors.Rejected if status < 500 else errors.ServerFailed
    if issubclass(kind, errors.ContextTooLong):
        return kind(detail, status=status)
    asked_not_to = headers.get("x-should-retry", "").lower() == "false"
    return kind(
        detail,
        status=status,
        retry_after_s=retry_after_s(headers.get("retry-after-ms"), headers.get("retry-after"), time.time()),
        retryable=False if asked_not_to else None,
    )


_BY_STATUS: dict[int, type[errors.UpstreamError]] = {
    401: errors.WrongKey,
    403: errors.Forbidden,
    404: errors.UnknownModel,
    408: errors.ServerFailed,
    409: errors.ServerFailed,
    413: errors.ContextTooLong,
    429: errors.RateLimited,
}


def _said(exc: openai.APIStatusError) -> str:
    body = exc.body
    if isinstance(body, dict) and body.get("message"):
        return str(body["message"])
    return json.dumps(body, ensure_ascii=False) if isinstance(body, dict) else str(body or "no body")


def _fits(body: dict[str, Any]) -> float | None:
    """Return the part of the prompt that fits, where the endpoint (llama.cpp) says both numbers."""
    try:
        return float(body["n_ctx"]) / float(body["n_prompt_tokens"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def retry_after_s(milliseconds: str | None, value: str | None, now_s: float) -> float | None:
    """Return how many seconds from `now_s` (Unix time) an endpoint asks to wait; None if it does not say.

    `Retry-After` after RFC 9110, section 10.2.3: seconds or a date. Nonsense counts as not said.
    """
    for text, scale in ((milliseconds, 0.001), (value, 1.0)):
        try:
            seconds = float(text or "") * scale
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        when = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return max(0.0, when.timestamp() - now_s)
