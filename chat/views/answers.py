"""Asking, asking again, going on, stopping: for pages without JavaScript, which ask by form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from chat import tasks
from chat.errors import RequestRefused
from chat.forms import AskForm
from chat.models import Conversation, Generation, Message
from chat.models.generation import StartedGeneration
from chat.views.access import AuthedRequest, signed_in
from chat.views.pages import Composer, page


@require_POST
def ask(request: AuthedRequest) -> HttpResponse:
    """Send the composer's text; whatever is refused comes back with the text in place."""
    if not request.user.is_authenticated:
        return render(
            request,
            "chat/signed_out.html",
            {"text": request.POST.get("text", "")},
            status=HTTPStatus.UNAUTHORIZED,
        )
    return _ask(request)


@signed_in("POST")
def _ask(request: AuthedRequest) -> HttpResponse:
    form = AskForm(request.POST)
    if not form.is_valid():
        return page(request, None, _as_it_was(request, form))
    data = form.cleaned_data
    verb = partial(
        Conversation.ask,
        request.user,
        data["text"] or data["example"],
        client_id=data["client_id"],
        conversation_id=data["conversation"],
        parent_id=data["parent"],
        is_at_leaf=not data["is_edit"],
        model_id=data["model"],
        system_prompt=data["system_prompt"],
        temperature=data["temperature"],
        source=Generation.Source.FORM,
    )
    try:
        accepted = tasks.begin(request.user, verb)
    except RequestRefused as refused:
        composer = Composer(
            data["text"],
            refused,
            data["is_edit"],
            data["parent"],
            data["model"],
            data["system_prompt"],
            data["temperature"],
        )
        return page(request, _conversation(request, data["conversation"]), composer)
    return to_end(accepted.conversation_id)


def _as_it_was(request: AuthedRequest, form: AskForm) -> Composer:
    refused = RequestRefused("malformed", _("This form was incomplete. Please send it again."))
    if "temperature" in form.errors:
        refused = RequestRefused("bad_settings", _("The temperature must be a number from 0 to 2, or empty."))
    text, system_prompt = request.POST.get("text", ""), request.POST.get("system_prompt", "")
    return Composer(text, refused, model_id=form.cleaned_data.get("model"), system_prompt=system_prompt)


@signed_in("POST")
def regenerate(request: AuthedRequest, pk: int) -> HttpResponse:
    """Answer the person's message `pk` once more."""
    return _begin(request, pk, Conversation.regenerate)


@signed_in("POST")
def resume(request: AuthedRequest, pk: int) -> HttpResponse:
    """Write on at the answer `pk`, which ended early."""
    return _begin(request, pk, Conversation.resume)


def _begin(request: AuthedRequest, pk: int, verb: Callable[..., StartedGeneration]) -> HttpResponse:
    message = Message.get_for(request.user, pk)
    client_id = request.POST.get("client_id", "")
    try:
        accepted = tasks.begin(
            request.user,
            partial(verb, request.user, pk, client_id=client_id, source=Generation.Source.FORM),
        )
    except RequestRefused as refused:
        return page(request, message.conversation, Composer(refused=refused))
    return to_end(accepted.conversation_id)


@signed_in("POST")
def stop(request: AuthedRequest, pk: int) -> HttpResponse:
    """End an answer and keep its text."""
    generation = get_object_or_404(Generation.objects.of(request.user).select_related("message"), pk=pk)
    tasks.stop(request.user, generation.pk)
    if request.htmx:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return to_end(generation.message.conversation_id)


@signed_in("GET")
def receipt(request: AuthedRequest, pk: int) -> HttpResponse:
    """Answer with what happened to one generation."""
    generations = Generation.objects.of(request.user).select_related("model", "message__conversation")
    generation = get_object_or_404(generations.prefetch_related("attempts"), pk=pk)
    template = "chat/_receipt.html" if request.htmx else "chat/receipt.html"
    return render(request, template, {"generation": generation, "attempts": list(generation.attempts.all())})


def to_end(conversation_id: object) -> HttpResponse:
    """Send the browser to the end of a conversation."""
    return HttpResponseRedirect(reverse("conversation", args=[conversation_id]) + "#end")


def _conversation(request: AuthedRequest, conversation_id: object) -> Conversation | None:
    if not conversation_id:
        return None
    try:
        return Conversation.get_for(request.user, str(conversation_id))
    except RequestRefused:  # it was deleted meanwhile: the text goes to a new one
        return None
