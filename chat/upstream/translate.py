"""Translation of the SDK's and the provider's errors into `UpstreamError`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from chat.upstream import errors

if TYPE_CHECKING:
    import openai

_BY_STATUS: dict[int, type[errors.UpstreamError]] = {
    401: errors.WrongKey,
    403: errors.Forbidden,
    404: errors.UnknownModel,
    408: errors.ServerFailed,
    409: errors.ServerFailed,
    413: errors.ContextTooLong,
    429: errors.RateLimited,
}
# By the `code` or `type` of a provider's error object.
_BY_CODE: dict[str, type[errors.UpstreamError]] = {
    "context_length_exceeded": errors.ContextTooLong,
    "exceed_context_size_error": errors.ContextTooLong,
    "content_filter": errors.ContentFiltered,
    "content_policy_violation": errors.ContentFiltered,
    "insufficient_quota": errors.QuotaExhausted,
}


@contextmanager
def translated(api_key: str, *, on_disconnect: type[errors.UpstreamError]) -> Iterator[None]:
    """Raise UpstreamError for what the SDK and its transport raise.

    `on_disconnect`: the class for a lost connection.
    """
    # Not imported at the top, for the same reason as in `client.py`.
    import aiohttp
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as exc:
        raise _from_status(exc, api_key) from exc
    except openai.APIConnectionError as exc:
        # The aiohttp transport reports every lost connection as a timeout; the cause is accurate.
        is_timeout = any(isinstance(cause, TimeoutError) for cause in _causes(exc))
        kind = errors.ConnectTimedOut if is_timeout else errors.Unreachable
        raise kind(errors.redacted(_root_cause(exc), api_key)) from exc
    except openai.OpenAIError as exc:
        raise errors.Rejected(errors.redacted(str(exc), api_key)) from exc
    except (httpx2.HTTPError, aiohttp.ClientError, OSError, EOFError) as exc:
        raise on_disconnect(errors.redacted(_root_cause(exc), api_key)) from exc
    except (httpx2.InvalidURL, UnicodeError, ValueError) as exc:
        raise errors.Unreachable(errors.redacted(str(exc), api_key), retryable=False) from exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _root_cause(exc: BaseException) -> str:
    *_outer, last = _causes(exc)
    return str(last) or type(last).__name__


def from_stream(error: Any, api_key: str) -> errors.UpstreamError:
    """Return the UpstreamError for an error object inside a 200 stream."""
    body = error if isinstance(error, dict) else {"message": error}
    kind = _kind_by_code(body) or errors.StreamedError
    return kind(errors.redacted(str(body.get("message")), api_key))


def _from_status(exc: openai.APIStatusError, api_key: str) -> errors.UpstreamError:
    """Return the UpstreamError for an HTTP status and its body."""
    body = exc.body if isinstance(exc.body, dict) else {}
    status = exc.status_code
    detail = errors.redacted(f"HTTP {status}: {_message_of(exc)}", api_key)
    kind = _kind_by_code(body)
    if kind is errors.ContextTooLong:
        return errors.ContextTooLong(detail, fits=_fitting_share(body), status=status)
    if kind is not None:
        return kind(detail, status=status)
    kind = _kind_by_status(status)
    if issubclass(kind, errors.ContextTooLong):
        return kind(detail, status=status)
    headers = exc.response.headers
    must_not_retry = headers.get("x-should-retry", "").lower() == "false"
    return kind(
        detail,
        status=status,
        retry_after_s=retry_after_s(headers.get("retry-after-ms"), headers.get("retry-after"), time.time()),
        retryable=False if must_not_retry else None,
    )


def _kind_by_code(body: dict[str, Any]) -> type[errors.UpstreamError] | None:
    kinds = {_BY_CODE.get(str(body.get(name))) for name in ("code", "type")}
    return next((kind for kind in _BY_CODE.values() if kind in kinds), None)


def _kind_by_status(status: int) -> type[errors.UpstreamError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:
        return errors.Redirected
    return errors.Rejected if status < 500 else errors.ServerFailed


def _message_of(exc: openai.APIStatusError) -> str:
    body = exc.body
    if isinstance(body, dict) and body.get("message"):
        return str(body["message"])
    return json.dumps(body, ensure_ascii=False) if isinstance(body, dict) else str(body or "no body")


def _fitting_share(body: dict[str, Any]) -> float | None:
    """Return the share of the prompt that fits; None unless llama.cpp reports it."""
    try:
        return float(body["n_ctx"]) / float(body["n_prompt_tokens"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def retry_after_s(milliseconds: str | None, value: str | None, now_s: float) -> float | None:
    """Return how many seconds to wait; None if the headers have no valid time.

    `milliseconds`: the header `retry-after-ms`. `value`: the header `Retry-After`, seconds or a date (RFC
    9110, section 10.2.3). `now_s`: Unix time.
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
