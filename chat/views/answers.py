"""Send, regenerate, continue and stop by form, for pages without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from chat.batches.later import ask_later_sync
from chat.errors import RequestRefused
from chat.generation.start import start_sync, stop_sync
from chat.models import Attachment, Comparison, Conversation, Generation, Message
from chat.models.generation import StartedGeneration
from chat.runtime.process import current_runtime
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.forms import AskForm
from chat.views.pages import Composer, page


@require_POST
def ask(request: AuthenticatedRequest) -> HttpResponse:
    """Send the composer's text. A refused request returns the page with the text."""
    if not request.user.is_authenticated:
        return render(
            request,
            "chat/signed_out.html",
            {"text": request.POST.get("text", "")},
            status=HTTPStatus.UNAUTHORIZED,
        )
    return _ask(request)


@signed_in("POST")
def _ask(request: AuthenticatedRequest) -> HttpResponse:
    form = AskForm(request.POST)
    if not form.is_valid():
        return page(request, None, _invalid_composer(request, form))
    data = form.cleaned_data
    try:
        asking = ask_later_sync if data["later"] else start_sync
        started = asking(current_runtime().runner, request.user, partial(_start, request.user, data))
    except RequestRefused as refused:
        return page(
            request,
            _conversation(request, data["conversation"]),
            _refused_composer(request.user, data, refused),
        )
    if started.warning:
        messages.info(request, started.warning)
    return to_end(started.conversation_id)


def _start(user: User, data: dict[str, Any]) -> StartedGeneration:
    others = [model.pk for model in data["compare"] if model.pk != data["model"]]
    ask = partial(Conversation.ask, model_id=data["model"])
    if others and data["later"]:
        raise RequestRefused("bad_settings", _("Only one model can answer later. Choose one."))
    if others:
        ask = partial(Comparison.ask, model_ids=[data["model"], *others])
    return ask(
        user,
        data["text"] or data["example"],
        client_id=data["client_id"],
        conversation_id=data["conversation"],
        parent_id=data["parent"],
        is_at_leaf=not data["is_edit"],
        system_prompt=data["system_prompt"],
        temperature=data["temperature"],
        project_id=None if data["conversation"] else data["project"],
        is_temporary=data["temporary"],
        attachments=data["attachment"],
        source=Generation.Source.FORM,
    )


def _refused_composer(user: User, data: dict[str, Any], refused: RequestRefused) -> Composer:
    return Composer(
        data["text"],
        refused,
        is_edit=data["is_edit"],
        parent_id=data["parent"],
        model_id=data["model"],
        system_prompt=data["system_prompt"],
        temperature=data["temperature"],
        is_later=data["later"],
        attachments=list(Attachment.objects.of(user).filter(pk__in=data["attachment"])),
    )


def _invalid_composer(request: AuthenticatedRequest, form: AskForm) -> Composer:
    refused = RequestRefused("malformed", _("This form was incomplete. Please send it again."))
    if "temperature" in form.errors:
        refused = RequestRefused("bad_settings", _("The temperature must be a number from 0 to 2, or empty."))
    text, system_prompt = request.POST.get("text", ""), request.POST.get("system_prompt", "")
    return Composer(text, refused, model_id=form.cleaned_data.get("model"), system_prompt=system_prompt)


@signed_in("POST")
def regenerate(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Generate another answer to the user's message `pk`."""
    return _generate(request, pk, Conversation.regenerate)


@signed_in("POST")
def resume(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Continue the answer `pk`, which ended early."""
    return _generate(request, pk, Conversation.resume)


def _generate(
    request: AuthenticatedRequest, pk: int, operation: Callable[..., StartedGeneration]
) -> HttpResponse:
    message = Message.get_for(request.user, pk)
    client_id = request.POST.get("client_id", "")
    try:
        started = start_sync(
            current_runtime().runner,
            request.user,
            partial(operation, request.user, pk, client_id=client_id, source=Generation.Source.FORM),
        )
    except RequestRefused as refused:
        return page(request, message.conversation, Composer(refused=refused))
    if started.warning:
        messages.info(request, started.warning)
    return to_end(started.conversation_id)


@signed_in("POST")
def choose(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Go on with one of the compared answers. `tie` in the form: none is better than the others."""
    message = Comparison.decide(request.user, pk, is_tie="tie" in request.POST)
    current_runtime().notifications.changed(request.user.pk, message.conversation_id, "selected")
    if request.htmx:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return to_end(message.conversation_id)


@signed_in("POST")
def stop(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Stop an answer and keep its text."""
    generation = get_object_or_404(Generation.objects.of(request.user).select_related("message"), pk=pk)
    stop_sync(current_runtime().runner, request.user, generation.pk)
    if request.htmx:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return to_end(generation.message.conversation_id)


def to_end(conversation_id: object) -> HttpResponse:
    """Redirect to the end of a conversation."""
    return HttpResponseRedirect(reverse("conversation", args=[conversation_id]) + "#end")


def _conversation(request: AuthenticatedRequest, conversation_id: object) -> Conversation | None:
    if not conversation_id:
        return None
    try:
        return Conversation.get_for(request.user, str(conversation_id))
    except RequestRefused:  # deleted in the meantime: the text goes to a new conversation
        return None
