"""Everything that can go wrong with an upstream call, and what follows from it.

UpstreamError
├── Unreachable            no connection, or it was lost before an answer
│   └── ConnectTimedOut
├── Rejected               the endpoint refused the request; a retry will not help
│   ├── WrongKey · Forbidden · UnknownModel · Redirected · WrongAddress · UntrustedCertificate
│   ├── ContextTooLong     may succeed with a shorter prompt
│   ├── ContentFiltered
│   └── QuotaExhausted
├── Busy                   may succeed later
│   ├── RateLimited
│   └── ServerFailed
├── TooSlow
│   ├── FirstTokenTimedOut · Stalled · TotalTimedOut
├── BadStream              status 200, but not a complete answer
│   ├── Cut                ended without a finish reason
│   ├── Malformed · NotAStream
│   ├── UnknownFinishReason  the text may be incomplete
│   └── StreamedError      an error inside the stream
├── NotCalled              this program made no call
│   ├── BreakerOpen        the model has failed repeatedly
│   └── QueueFull          too many calls wait for a slot
├── ProcessLost            the process of this program that made the call ended
└── AnswerUnusable · NotRunning · GaveUp

What follows from each before the first delta:

| error | same model again | next model of the route | counts for the breaker |
| --- | --- | --- | --- |
| Unreachable, ConnectTimedOut, 5xx | yes | then | yes |
| 408, 409 | yes | then | |
| RateLimited | yes, after Retry-After; not if that is more than a minute | then | |
| FirstTokenTimedOut | only without a healthy fallback | at once | yes |
| Stalled, BadStream | yes | then | yes |
| any of these with `x-should-retry: false` | no | at once | as above |
| WrongKey, Forbidden, UnknownModel, Redirected, QuotaExhausted, NotRunning | no | at once | |
| WrongAddress, UntrustedCertificate | no | at once | |
| UnknownFinishReason | no | at once | |
| ContextTooLong | once, with a shorter prompt | then, one whose context is larger or unknown | |
| Rejected (400, 422), ContentFiltered, AnswerUnusable | no | no: the request is at fault | |
| Rejected because the model takes no tools | no | at once | |
| TotalTimedOut, GaveUp | no | no: the time or the calls are used up | |
| BreakerOpen | interactive and bulk calls wait if there is no fallback; API calls fail | at once | |
| QueueFull | no | at once | |

After the first delta, errors that are retried above are recovered from while the budget has recoveries; so
is ProcessLost. All others end the answer.
"""

from __future__ import annotations

from typing import ClassVar


def _(text: str) -> str:
    """Mark a text for translation; it is translated when it is displayed."""
    return text


class UpstreamError(Exception):
    """A failed upstream call.

    `code`: for machines. `user_message`: what happened, and `advice`: what the user can do when the answer
    has failed; texts with the placeholders `%(model)s`, `%(endpoint)s`, `%(wait)s` and `%(detail)s`.
    `retryable`: whether the same call may succeed later. `falls_over`: whether another model may do better.
    `counts_against`: whether the breaker counts it. `retry_after_s`: the wait that the endpoint requests.
    `detail`: the endpoint's message, redacted, for staff and programs. `target_key`: the endpoint and model
    that failed, if known. `param`: the field of the request that the endpoint names. `refused_parameters`:
    parameters of the request that the endpoint may refuse. `hidden_text`: what the call had sent and was not
    shown, because it repeats what was displayed before.
    """

    code: ClassVar[str] = "upstream_error"
    user_message: ClassVar[str] = _("%(model)s could not answer.")
    advice: ClassVar[str] = _("Try again.")
    retryable: bool = False
    falls_over: bool = False
    counts_against: bool = False
    target_key: tuple[str, str] | None = None
    param: str = ""
    refused_parameters: tuple[str, ...] = ()
    hidden_text: str = ""

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
        # What is said to users: what happened, and what they can do.
        self.texts = (self.user_message, self.advice)


class Unreachable(UpstreamError):
    code = "unreachable"
    user_message = _("Could not connect to %(endpoint)s.")
    advice = _("It may be down, or its URL may be wrong. Try again later.")
    retryable = True
    falls_over = True
    counts_against = True


class ConnectTimedOut(Unreachable):
    code = "connect_timeout"
    user_message = _("The connection to %(endpoint)s timed out.")
    advice = _("It may be down or overloaded. Try again later.")


class Rejected(UpstreamError):
    code = "rejected"
    user_message = _("%(endpoint)s rejected the request.")
    advice = _("Edit the message or choose another model.")


class WrongKey(Rejected):
    code = "wrong_key"
    user_message = _("%(endpoint)s rejected the API key.")
    advice = _("Ask an administrator to check it.")
    falls_over = True


class Forbidden(Rejected):
    code = "forbidden"
    user_message = _("The API key does not allow %(model)s to be used.")
    advice = _("Choose another model.")
    falls_over = True


class UnknownModel(Rejected):
    code = "unknown_model"
    user_message = _("%(model)s is not available from its provider.")
    advice = _("Choose another model.")
    falls_over = True


class WrongAddress(Rejected):
    """Something answers at the URL, but not the chat completions of an API."""

    code = "wrong_address"
    user_message = _("The address of %(endpoint)s does not answer chat requests.")
    advice = _("Its base URL may be wrong; many end with /v1. Ask an administrator to check it.")
    falls_over = True


class UntrustedCertificate(Rejected):
    code = "untrusted_certificate"
    user_message = _("The certificate of %(endpoint)s is not trusted.")
    advice = _("Ask an administrator to check it.")
    falls_over = True


class Redirected(Rejected):
    code = "redirected"
    user_message = _("%(endpoint)s redirects to another URL, and redirects are not followed.")
    advice = _("Ask an administrator to check its base URL.")
    falls_over = True


class ContextTooLong(Rejected):
    code = "context_too_long"
    user_message = _("The conversation is too long for %(model)s.")
    advice = _("Shorten the message or start a new conversation.")

    def __init__(
        self,
        detail: str = "",
        *,
        fits: float | None = None,
        limit_tokens: int | None = None,
        status: int | None = None,
    ) -> None:
        """`fits`: the share of the prompt (0..1) that fits; `limit_tokens`: the model's context window.

        Both are None if the endpoint does not report them.
        """
        super().__init__(detail, status=status)
        self.fits = fits
        self.limit_tokens = limit_tokens


class ContentFiltered(Rejected):
    code = "content_filter"
    user_message = _("%(endpoint)s blocked this message because of its content policy.")
    advice = _("Rephrase the message.")


class QuotaExhausted(Rejected):
    code = "insufficient_quota"
    user_message = _("The account at %(endpoint)s has run out of credit.")
    advice = _("Ask an administrator to check the account.")
    falls_over = True


class Busy(UpstreamError):
    code = "busy"
    user_message = _("%(endpoint)s is busy.")
    advice = _("Try again in a moment.")
    retryable = True
    falls_over = True


class RateLimited(Busy):
    code = "rate_limited"
    user_message = _("%(endpoint)s has reached its rate limit.")
    advice = _("Try again%(wait)s.")
    # Whether all models of the endpoint have to wait, and not only this one.
    concerns_endpoint = False


class ServerFailed(Busy):
    code = "server_error"
    user_message = _("%(endpoint)s returned a server error.")

    @property
    def counts_against(self) -> bool:  # type: ignore[override]  # depends on the status
        return self.status is None or self.status >= 500


class TooSlow(UpstreamError):
    code = "timeout"
    user_message = _("%(model)s took too long.")
    retryable = True
    falls_over = True
    counts_against = True


class FirstTokenTimedOut(TooSlow):
    code = "first_token_timeout"
    user_message = _("%(model)s did not start answering in time.")
    advice = _("Try again, or choose another model.")


class Stalled(TooSlow):
    code = "stalled"
    user_message = _("%(model)s stopped responding in the middle of its answer.")


class TotalTimedOut(TooSlow):
    code = "total_timeout"
    user_message = _("%(model)s reached the time limit for an answer.")
    advice = _("Ask for a shorter answer, or choose a faster model.")
    retryable = False
    falls_over = False
    counts_against = False


class BadStream(UpstreamError):
    code = "bad_stream"
    user_message = _("%(endpoint)s sent an invalid response.")
    retryable = True
    falls_over = True
    counts_against = True


class Cut(BadStream):
    code = "cut"
    user_message = _("The answer from %(endpoint)s ended before it was complete.")


class Malformed(BadStream):
    code = "malformed"
    user_message = _("%(endpoint)s sent a corrupted response.")


class NotAStream(BadStream):
    code = "not_a_stream"
    advice = _("Its base URL may be wrong. Ask an administrator to check it.")


class StreamedError(BadStream):
    code = "streamed_error"
    user_message = _("%(endpoint)s reported an error in the middle of the answer.")


class UnknownFinishReason(BadStream):
    """The answer ended for a reason that is not in the table of `finish_reasons.py`."""

    code = "unknown_finish_reason"
    user_message = _("%(model)s ended its answer for an unknown reason. It may be incomplete.")
    retryable = False
    counts_against = False


class NotCalled(UpstreamError):
    """No call was made, to protect the endpoint."""

    code = "not_asked"
    falls_over = True


class BreakerOpen(NotCalled):
    code = "breaker_open"
    user_message = _("%(model)s is temporarily disabled after repeated failures.")
    advice = _("Try again%(wait)s, or choose another model.")

    def switch_off(self) -> None:
        """Say that an operator holds the breaker open."""
        self.texts = (
            _("%(model)s has been switched off by an administrator."),
            _("Choose another model."),
        )


class QueueFull(NotCalled):
    code = "queue_full"
    user_message = _("Too many requests are waiting for %(model)s.")
    advice = _("Try again%(wait)s, or choose another model.")


class ProcessLost(UpstreamError):
    code = "process_lost"
    user_message = _("The server that was writing this answer stopped.")
    advice = _("The text so far is kept.")
    retryable = True


class AnswerUnusable(UpstreamError):
    """The model completed its answer, but without text."""

    code = "no_text"
    user_message = _("%(model)s returned an answer without text.")
    advice = _("Rephrase the message, or choose another model.")


class NotRunning(UpstreamError):
    """The embedded model is not running; `detail` tells the user what to do."""

    code = "demo_model_unavailable"
    user_message = _("The demo model is not running.")
    advice = "%(detail)s"
    falls_over = True


class GaveUp(UpstreamError):
    """All calls that one answer may use have been made."""

    code = "gave_up"
    user_message = _("%(model)s did not answer after several attempts.")
    advice = _("Try again later.")
