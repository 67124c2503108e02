"""The wait that an endpoint asks for: in headers, in fields of its error, or in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

_UNITS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = (
    r"((?:\d+(?:\.\d+)?\s*"
    r"(?:ms|milliseconds?|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])\s*(?:and )?)+)"
)
_WAIT = re.compile(
    rf"(?:again|retry|wait|reset|available)\w*\b[^.\d]{{0,40}}{_DURATION.replace('(?![a-z])', '')}",
    re.IGNORECASE,
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h)", re.IGNORECASE)


def duration_s(text: str) -> float | None:
    """Return the seconds in a duration such as `1m30s`, `250ms` or `20 seconds`; None if it is none."""
    parts = _PART.findall(text)
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in parts) if parts else None


def wait_in_message(text: str) -> float | None:
    """Return the wait in seconds that a message names, or None."""
    found = _WAIT.search(text)
    return duration_s(found[1]) if found else None


def wait_in_fields(values: Mapping[str, Any]) -> float | None:
    """Return the wait that an error object names in a field: Gemini's `retryDelay`, or `retry_after`."""
    details = values.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return duration_s(detail["retryDelay"])
    after = values.get("retry_after")
    is_number = isinstance(after, int | float) and not isinstance(after, bool)
    return float(after) if is_number and 0 <= after < float("inf") else None  # type: ignore[arg-type, operator]


def wait_in_headers(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the wait that the headers of a response name, or None. `now_s`: Unix time."""
    wait_s = retry_after_s(headers.get("retry-after-ms"), headers.get("retry-after"), now_s)
    return _reset_s(headers) if wait_s is None else wait_s


def _reset_s(headers: Mapping[str, str]) -> float | None:
    """Return when the exhausted one of the limits in OpenAI's and Groq's headers is reset, in seconds."""
    waits = [
        duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() in ("0", "0.0")
    ]
    return max((wait for wait in waits if wait is not None), default=None)


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
