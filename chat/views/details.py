"""The details of an answer: what happened, in a sentence, as a timeline and call by call."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.generation.turns import follows_unanswered
from chat.models import Generation
from chat.review.timeline import timeline_of
from chat.views.access import AuthenticatedRequest, signed_in

# The colours of the timeline.
PHASES = {
    "queue": gettext_lazy("queue"),
    "backoff": gettext_lazy("backoff"),
    "wait": gettext_lazy("waiting"),
    "write": gettext_lazy("writing"),
    "cut": gettext_lazy("failed"),
}
# What finish reasons mean to users. Any other is shown as it is.
ENDINGS = {
    "stop": "",
    "length": gettext_lazy("reached the length limit"),
    "content_filter": gettext_lazy("stopped by the provider's content filter"),
    "tool_calls": gettext_lazy("called tools"),
}
# Why a call failed, in a few words. Any other code is shown as it is.
ERRORS = {
    "unreachable": gettext_lazy("no connection"),
    "connect_timeout": gettext_lazy("no connection in time"),
    "rejected": gettext_lazy("rejected"),
    "wrong_address": gettext_lazy("wrong address"),
    "redirected": gettext_lazy("redirected elsewhere"),
    "untrusted_certificate": gettext_lazy("untrusted certificate"),
    "wrong_key": gettext_lazy("wrong API key"),
    "forbidden": gettext_lazy("not allowed by the API key"),
    "unknown_model": gettext_lazy("model not found"),
    "context_too_long": gettext_lazy("conversation too long"),
    "content_filter": gettext_lazy("content filter"),
    "insufficient_quota": gettext_lazy("no credit left"),
    "busy": gettext_lazy("busy"),
    "rate_limited": gettext_lazy("rate limit"),
    "server_error": gettext_lazy("server error"),
    "timeout": gettext_lazy("too slow"),
    "first_token_timeout": gettext_lazy("did not start in time"),
    "stalled": gettext_lazy("stopped sending"),
    "total_timeout": gettext_lazy("time limit"),
    "bad_stream": gettext_lazy("invalid response"),
    "malformed": gettext_lazy("invalid response"),
    "not_a_stream": gettext_lazy("invalid response"),
    "cut": gettext_lazy("connection lost"),
    "streamed_error": gettext_lazy("error while answering"),
    "unknown_finish_reason": gettext_lazy("unknown end"),
    "process_lost": gettext_lazy("server stopped"),
    "no_text": gettext_lazy("no text"),
}
SHOWN_FROM_S = 0.1


@signed_in("GET")
def details(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Show the details of one generation: times, usage and attempts."""
    generations = Generation.objects.of(request.user).select_related(
        "model", "message__conversation", "message__parent__parent"
    )
    generation = get_object_or_404(generations.prefetch_related("attempts"), pk=pk)
    question = generation.message.parent
    attempts = list(generation.attempts.all())
    timeline = timeline_of(generation, attempts) if attempts else None
    kinds = {bar.kind for bar in timeline.bars} if timeline else set()
    reason = generation.finish_reason
    was_queued = any(attempt.queued_s >= SHOWN_FROM_S for attempt in attempts)
    has_waited = any(attempt.wait_s >= SHOWN_FROM_S for attempt in attempts)
    context = {
        "generation": generation,
        "attempts": [(attempt, ERRORS.get(attempt.error_code, attempt.error_code)) for attempt in attempts],
        "last_attempt": attempts[-1] if attempts else None,
        "ending": ENDINGS.get(reason, reason),
        # Columns are left out if they have nothing to say.
        "was_queued": was_queued,
        "has_waited": has_waited,
        "columns": 3 + was_queued + has_waited,
        "timeline": timeline,
        "legend": [(kind, name) for kind, name in PHASES.items() if kind in kinds],
        "summary": _summary(generation, len(attempts)),
        # If messages were left out, the one before may be among them.
        "is_joined": not generation.left_out and question is not None and follows_unanswered(question),
    }
    template = "chat/_details.html" if request.htmx else "chat/details.html"
    return render(request, template, context)


def _summary(generation: Generation, calls: int) -> str:
    """Return in one sentence what happened."""
    if generation.is_at_provider:
        return _("The provider answers within a day, at the batch price.")
    if generation.is_active:
        return _("This answer is still being written.")
    if generation.error_message:
        return generation.error_message
    values = {
        "status": generation.get_status_display().capitalize(),
        "s": f"{generation.duration_s or 0:.1f}",
    }
    if generation.recoveries:
        sentence = ngettext(
            "%(status)s in %(s)s s, after %(number)d interruption.",
            "%(status)s in %(s)s s, after %(number)d interruptions.",
            generation.recoveries,
        )
        return sentence % {**values, "number": generation.recoveries}
    if calls > 1:
        return _("%(status)s in %(s)s s, with %(number)d calls.") % {**values, "number": calls}
    return _("%(status)s in %(s)s s.") % values
