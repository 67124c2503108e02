"""Everything that can go wrong with an upstream call, and what it means.

UpstreamError
├── Unreachable            no connection, or it broke before an answer
│   └── ConnectTimedOut
├── Rejected               the endpoint said no; asking again will not help
│   ├── WrongKey · Forbidden · UnknownModel · Redirected
│   ├── ContextTooLong     may succeed with a shorter prompt
│   ├── ContentFiltered
│   └── QuotaExhausted
├── Busy                   try again, perhaps later
│   ├── RateLimited
│   └── ServerFailed
├── TooSlow
│   ├── FirstTokenTimedOut · Stalled · TotalTimedOut
└── BadStream              200, and then not an answer
    ├── Cut                ended without a finish reason
    ├── Malformed · NotAStream
    └── StreamedError      an error inside the stream
"""

from __future__ import annotations

import re
from typing import ClassVar


def _(text: str) -> str:
    """Mark a text for translation; it is translated where it is shown."""
    return text


_KEY = re.compile(r"\b(sk|key|Bearer)[-_ ][A-Za-z0-9*_\-.]{6,}")
DETAIL_MAX_CHARS = 500


def redacted(text: str, api_key: str = "") -> str:
    """Return what an endpoint said, without anything that looks like a key, and not too long."""
    if api_key:
        text = text.replace(api_key, "[key]")
    return _KEY.sub("[key]", text)[:DETAIL_MAX_CHARS]


class UpstreamError(Exception):
    """A failed upstream call.

    `code` is for machines. `user_message` is for people: a text with `%(model)s`, `%(endpoint)s` and
    `%(wait)s` places. `retryable`: whether the same call may succeed. `retry_after_s`: the endpoint's
    own word on when. `detail` is what the endpoint said, redacted, for staff.
    """

    code: ClassVar[str] = "upstream_error"
    user_message: ClassVar[str] = _("%(model)s could not answer. Try again.")
    retryable: bool = False

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(f"{self.code}: {detail}" if detail else self.code)
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        if retryable is not None:
            self.retryable = retryable


class Unreachable(UpstreamError):
    code = "unreachable"
    user_message = _("No connection to %(endpoint)s. It may be down, or its address may be wrong.")
    retryable = True


class ConnectTimedOut(Unreachable):
    code = "connect_timeout"
    user_message = _("%(endpoint)s did not accept a connection in time. It may be down or overloaded.")


class Rejected(UpstreamError):
    code = "rejected"
    user_message = _("%(endpoint)s did not accept this request. Changing the message or the model may help.")


class WrongKey(Rejected):
    code = "wrong_key"
    user_message = _(
        "%(endpoint)s does not accept the API key. Ask the people who run this site to check it."
    )


class Forbidden(Rejected):
    code = "forbidden"
    user_message = _("%(endpoint)s does not allow the use of %(model)s with this key.")


class UnknownModel(Rejected):
    code = "unknown_model"
    user_message = _("%(endpoint)s does not have %(model)s. Choose another model.")


class Redirected(Rejected):
    code = "redirected"
    user_message = _(
        "%(endpoint)s points to another address, which is not followed. Its base URL needs checking."
    )


class ContextTooLong(Rejected):
    code = "context_too_long"
    user_message = _(
        "This is more text than %(model)s can take. Shorten the message or start a new conversation."
    )

    def __init__(self, detail: str = "", *, fits: float | None = None, status: int | None = None) -> None:
        """`fits`: the part of the prompt (0..1) that the endpoint says it could have taken, if it says."""
        super().__init__(detail, status=status)
        self.fits = fits


class ContentFiltered(Rejected):
    code = "content_filter"
    user_message = _("%(endpoint)s refused this message under its content rules.")


class QuotaExhausted(Rejected):
    code = "insufficient_quota"
    user_message = _("The account at %(endpoint)s has no credit left. Ask the people who run this site.")


class Busy(UpstreamError):
    code = "busy"
    user_message = _("%(endpoint)s is busy. Try again in a moment.")
    retryable = True


class RateLimited(Busy):
    code = "rate_limited"
    user_message = _("%(endpoint)s is getting too many requests. Try again%(wait)s.")


class ServerFailed(Busy):
    code = "server_error"
    user_message = _("%(endpoint)s has a fault of its own. Try again in a moment.")


class TooSlow(UpstreamError):
    code = "timeout"
    user_message = _("%(model)s took too long.")
    retryable = True


class FirstTokenTimedOut(TooSlow):
    code = "first_token_timeout"
    user_message = _("%(model)s did not begin to answer in time. Try again, or choose another model.")


class Stalled(TooSlow):
    code = "stalled"
    user_message = _("%(model)s stopped sending in the middle of its answer.")


class TotalTimedOut(TooSlow):
    code = "total_timeout"
    user_message = _("%(model)s needed longer for this answer than is allowed.")
    retryable = False


class BadStream(UpstreamError):
    code = "bad_stream"
    user_message = _("%(endpoint)s sent something that is not an answer.")
    retryable = True


class Cut(BadStream):
    code = "cut"
    user_message = _("The answer was cut off on its way from %(endpoint)s.")


class Malformed(BadStream):
    code = "malformed"
    user_message = _("%(endpoint)s sent a damaged answer.")


class NotAStream(BadStream):
    code = "not_a_stream"
    user_message = _("%(endpoint)s sent something that is not an answer. Its base URL may be wrong.")


class StreamedError(BadStream):
    code = "streamed_error"
    user_message = _("%(endpoint)s reported a fault in the middle of its answer.")


class AnswerUnusable(UpstreamError):
    """The model ended properly, with something other than text."""

    code = "no_text"
    user_message = _("%(model)s answered with something other than text.")


class NotRunning(UpstreamError):
    """The embedded model is not there; `detail` is for people and says what to do."""

    code = "demo_model_unavailable"
    user_message = _("The demo model is not running. %(detail)s")


class GaveUp(UpstreamError):
    """All calls that one answer may cost have been made."""

    code = "gave_up"
    user_message = _("%(model)s was tried several times without success. Try again later.")
