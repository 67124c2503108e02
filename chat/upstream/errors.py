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
├── BadStream              200, and then not an answer
│   ├── Cut                ended without a finish reason
│   ├── Malformed · NotAStream
│   └── StreamedError      an error inside the stream
├── NotAsked               our own doing: no call was made
│   ├── BreakerOpen        it kept failing a moment ago
│   └── QueueFull          too many wait for a slot
├── ProcessLost            our own doing, too: the process that made the call ended
└── AnswerUnusable · NotRunning · GaveUp

What follows from each, before the first delta:

| error | the same model again | the next of the route | its breaker |
| --- | --- | --- | --- |
| Unreachable, ConnectTimedOut, 5xx | yes | then | counts it |
| 408, 409 | yes | then | |
| RateLimited | yes, when it says; not if that is in more than a minute | then | |
| FirstTokenTimedOut | only where there is no healthy fallback | at once | counts it |
| Stalled, BadStream | yes | then | counts it |
| any of these with `x-should-retry: false` | no | at once | as above |
| WrongKey, Forbidden, UnknownModel, Redirected, QuotaExhausted, NotRunning | no | at once | |
| ContextTooLong | once, with a shorter prompt | then, one with a larger context | |
| Rejected (400, 422), ContentFiltered, AnswerUnusable | no | no: the fault is in the question | |
| TotalTimedOut, GaveUp | no | no: the time or the calls are used up | |
| BreakerOpen | people and bulk wait, if there is no fallback; programs are refused | at once | |
| QueueFull | no | at once | |

After the first delta, an error that is tried again above is recovered from, as long as the budget has
recoveries; so is ProcessLost. All others end the answer there.
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

    `code` is for machines. `user_message` tells people what happened and `advice` what they can do once
    nothing more is tried: texts with `%(model)s`, `%(endpoint)s`, `%(wait)s` and `%(detail)s` places.
    `retryable`: whether the same call may succeed. `falls_over`: whether another model may do better.
    `counts_against`: whether it speaks against the endpoint's health. `retry_after_s`: the endpoint's own
    word on when. `detail` is what the endpoint said, redacted, for staff. `target_key`: the endpoint and
    model that failed, if known.
    """

    code: ClassVar[str] = "upstream_error"
    user_message: ClassVar[str] = _("%(model)s could not answer.")
    advice: ClassVar[str] = _("Try again.")
    retryable: bool = False
    falls_over: bool = False
    counts_against: bool = False
    target_key: tuple[str, str] | None = None

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
    user_message = _("No connection to %(endpoint)s.")
    advice = _("It may be down, or its address may be wrong. Try again later.")
    retryable = True
    falls_over = True
    counts_against = True


class ConnectTimedOut(Unreachable):
    code = "connect_timeout"
    user_message = _("%(endpoint)s did not accept a connection in time.")
    advice = _("It may be down or overloaded. Try again later.")


class Rejected(UpstreamError):
    code = "rejected"
    user_message = _("%(endpoint)s did not accept this request.")
    advice = _("Changing the message or the model may help.")


class WrongKey(Rejected):
    code = "wrong_key"
    user_message = _("%(endpoint)s does not accept the API key.")
    advice = _("Ask the people who run this site to check it.")
    falls_over = True


class Forbidden(Rejected):
    code = "forbidden"
    user_message = _("%(endpoint)s does not allow the use of %(model)s with this key.")
    advice = _("Choose another model.")
    falls_over = True


class UnknownModel(Rejected):
    code = "unknown_model"
    user_message = _("%(endpoint)s does not have %(model)s.")
    advice = _("Choose another model.")
    falls_over = True


class Redirected(Rejected):
    code = "redirected"
    user_message = _("%(endpoint)s points to another address, which is not followed.")
    advice = _("Ask the people who run this site to check its base URL.")
    falls_over = True


class ContextTooLong(Rejected):
    code = "context_too_long"
    user_message = _("This is more text than %(model)s can take.")
    advice = _("Shorten the message or start a new conversation.")

    def __init__(self, detail: str = "", *, fits: float | None = None, status: int | None = None) -> None:
        """`fits`: the part of the prompt (0..1) that the endpoint says it could have taken, if it says."""
        super().__init__(detail, status=status)
        self.fits = fits


class ContentFiltered(Rejected):
    code = "content_filter"
    user_message = _("%(endpoint)s refused this message under its content rules.")
    advice = _("Word it differently.")


class QuotaExhausted(Rejected):
    code = "insufficient_quota"
    user_message = _("The account at %(endpoint)s has no credit left.")
    advice = _("Ask the people who run this site.")
    falls_over = True


class Busy(UpstreamError):
    code = "busy"
    user_message = _("%(endpoint)s is busy.")
    advice = _("Try again in a moment.")
    retryable = True
    falls_over = True


class RateLimited(Busy):
    code = "rate_limited"
    user_message = _("%(endpoint)s is getting too many requests.")
    advice = _("Try again%(wait)s.")


class ServerFailed(Busy):
    code = "server_error"
    user_message = _("%(endpoint)s has a fault of its own.")

    @property
    def counts_against(self) -> bool:  # type: ignore[override]  # a claim that depends on the status
        return self.status is None or self.status >= 500


class TooSlow(UpstreamError):
    code = "timeout"
    user_message = _("%(model)s took too long.")
    retryable = True
    falls_over = True
    counts_against = True


class FirstTokenTimedOut(TooSlow):
    code = "first_token_timeout"
    user_message = _("%(model)s did not begin to answer in time.")
    advice = _("Try again, or choose another model.")


class Stalled(TooSlow):
    code = "stalled"
    user_message = _("%(model)s stopped sending in the middle of its answer.")


class TotalTimedOut(TooSlow):
    code = "total_timeout"
    user_message = _("%(model)s needed longer for this answer than is allowed.")
    advice = _("Ask for a shorter answer, or choose a faster model.")
    retryable = False
    falls_over = False
    counts_against = False


class BadStream(UpstreamError):
    code = "bad_stream"
    user_message = _("%(endpoint)s sent something that is not an answer.")
    retryable = True
    falls_over = True
    counts_against = True


class Cut(BadStream):
    code = "cut"
    user_message = _("The answer was cut off on its way from %(endpoint)s.")


class Malformed(BadStream):
    code = "malformed"
    user_message = _("%(endpoint)s sent a damaged answer.")


class NotAStream(BadStream):
    code = "not_a_stream"
    advice = _("Its base URL may be wrong. Ask the people who run this site to check it.")


class StreamedError(BadStream):
    code = "streamed_error"
    user_message = _("%(endpoint)s reported a fault in the middle of its answer.")


class NotAsked(UpstreamError):
    """No call was made, to spare an endpoint that has trouble enough."""

    code = "not_asked"
    falls_over = True


class BreakerOpen(NotAsked):
    code = "breaker_open"
    user_message = _("%(model)s keeps failing and is left alone for a moment.")
    advice = _("Try again%(wait)s, or choose another model.")


class QueueFull(NotAsked):
    code = "queue_full"
    user_message = _("Too many people are waiting for %(model)s.")
    advice = _("Try again%(wait)s, or choose another model.")


class ProcessLost(UpstreamError):
    code = "process_lost"
    user_message = _("The server that was writing this answer ended.")
    advice = _("Its text is kept.")
    retryable = True


class AnswerUnusable(UpstreamError):
    """The model ended properly, with something other than text."""

    code = "no_text"
    user_message = _("%(model)s answered with something other than text.")
    advice = _("Word the message differently, or choose another model.")


class NotRunning(UpstreamError):
    """The embedded model is not there; `detail` is for people and says what to do."""

    code = "demo_model_unavailable"
    user_message = _("The demo model is not running.")
    advice = "%(detail)s"
    falls_over = True


class GaveUp(UpstreamError):
    """All calls that one answer may cost have been made."""

    code = "gave_up"
    user_message = _("%(model)s was tried several times without success.")
    advice = _("Try again later.")
