"""Translation of the SDK's and the provider's errors into `UpstreamError`."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chat.upstream import context_limit, error_shapes, errors, waits
from chat.upstream.redaction import redacted

if TYPE_CHECKING:
    import openai

PARAM_MAX_CHARS = 80


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
        raise _lost(exc, errors.Unreachable, api_key) from exc
    except openai.OpenAIError as exc:
        raise errors.Rejected(redacted(str(exc), api_key)) from exc
    except (httpx2.HTTPError, aiohttp.ClientError, OSError, EOFError) as exc:
        raise _lost(exc, on_disconnect, api_key) from exc
    except (httpx2.InvalidURL, UnicodeError, ValueError) as exc:
        raise errors.Unreachable(redacted(str(exc), api_key), retryable=False) from exc


def _lost(exc: Exception, kind: type[errors.UpstreamError], api_key: str) -> errors.UpstreamError:
    """Return the error for a connection that was lost or never made, because of `exc`."""
    causes = list(_causes(exc))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        kind = errors.UntrustedCertificate
    elif any(isinstance(cause, ssl.SSLError) for cause in causes):
        kind = errors.WrongAddress  # plain HTTP behind https://, or an outdated protocol
    elif kind is errors.Unreachable and any(isinstance(cause, TimeoutError) for cause in causes):
        # The aiohttp transport reports every lost connection as a timeout; the cause is accurate.
        kind = errors.ConnectTimedOut
    return kind(redacted(_root_cause(exc), api_key))


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _root_cause(exc: BaseException) -> str:
    *_outer, last = _causes(exc)
    return str(last) or type(last).__name__


def from_stream(error: Any, api_key: str) -> errors.UpstreamError:
    """Return the UpstreamError for an error object inside a 200 response."""
    report = error_shapes.read(None, error)
    return _error_of(report, redacted(report.message or str(error), api_key))


def from_response(status: int, body: Any, api_key: str) -> errors.UpstreamError:
    """Return the UpstreamError for a response that is no chat completion, by its status and parsed body."""
    report = error_shapes.read(status, body)
    message = report.message if report.is_object else "no JSON"
    return _error_of(report, redacted(f"HTTP {status}: {message}", api_key))


def _from_status(exc: openai.APIStatusError, api_key: str) -> errors.UpstreamError:
    """Return the UpstreamError for an HTTP status and its body."""
    headers = exc.response.headers
    report = error_shapes.read(exc.status_code, exc.body)
    message = report.message or (json.dumps(exc.body, ensure_ascii=False) if exc.body else "no body")
    detail = redacted(f"HTTP {exc.status_code}: {message}", api_key)
    error = _error_of(report, detail, waits.wait_in_headers(headers, time.time()))
    if headers.get("x-should-retry", "").lower() == "false":
        error.retryable = False
    return error


def _error_of(
    report: error_shapes.ErrorReport, detail: str, wait_s: float | None = None
) -> errors.UpstreamError:
    """Return the error that a report describes. `wait_s`: named outside of its body."""
    kind = error_shapes.classify(report)
    if issubclass(kind, errors.ContextTooLong):
        error: errors.UpstreamError = kind(
            detail,
            fits=context_limit.fitting_share(report.message, report.values),
            limit_tokens=context_limit.limit_in(report.message, report.values),
            status=report.status,
        )
    elif issubclass(kind, errors.Busy):
        if wait_s is None:
            wait_s = waits.wait_in_fields(report.values)
        if wait_s is None:
            wait_s = waits.wait_in_message(report.message)
        error = kind(detail, status=report.status, retry_after_s=wait_s)
    else:
        error = kind(detail, status=report.status)
    error.param = redacted(report.param)[:PARAM_MAX_CHARS]
    if isinstance(error, errors.RateLimited):
        error.concerns_endpoint = report.concerns_whole_endpoint
    if type(error) in (errors.Rejected, errors.ServerFailed, errors.UnknownModel):
        error.refused_parameters = report.refused_parameters
    return error
