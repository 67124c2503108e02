"""Thumbs up and down on answers, with reasons and a comment."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from chat.errors import RequestRefused
from chat.models import Feedback, Message
from chat.models.feedback import COMMENT_MAX_CHARS
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.transcript import address_of

VALUES = {"1": 1, "-1": -1, "0": 0}


@signed_in("GET", "POST")
def feedback(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Show the form for reasons. A POST stores a thumb, takes it back (0), or stores reasons."""
    message = Message.get_for(request.user, pk)
    if request.method != "POST":
        given = Feedback.objects.filter(message=message, user=request.user).first()
        return _form(request, message, given) if given else HttpResponseRedirect(address_of(message))
    value = VALUES.get(request.POST.get("value", ""))
    if value is None:
        raise RequestRefused("malformed", "value must be 1, -1 or 0")
    given = Feedback.give(request.user, pk, value)
    if "explain" in request.POST and given is not None:
        return _explained(request, message, given)
    if request.htmx:
        return render(request, "chat/_thumbs.html", {"message_id": pk, "feedback": given})
    is_bad = given is not None and given.value < 0
    return HttpResponseRedirect(request.path if is_bad else address_of(message))


def _explained(request: AuthenticatedRequest, message: Message, given: Feedback) -> HttpResponse:
    try:
        given.explain(request.POST.getlist("reasons"), request.POST.get("comment", ""))
    except RequestRefused as refused:
        return _form(request, message, given, refused.message)
    if not request.htmx:
        return HttpResponseRedirect(address_of(message))
    response = HttpResponse()
    response["HX-Trigger"] = "dialog-done"
    return response


def _form(request: AuthenticatedRequest, message: Message, given: Feedback, error: str = "") -> HttpResponse:
    context = {
        "message_id": message.pk,
        "feedback": given,
        "error": error,
        "reasons": Feedback.Reason.choices,
        "comment_max_chars": COMMENT_MAX_CHARS,
        "back": address_of(message),
    }
    template = "chat/_feedback.html" if request.htmx else "chat/feedback.html"
    return render(request, template, context, status=422 if error else 200)
