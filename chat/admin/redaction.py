"""The page that removes text from a conversation."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.errors import RequestRefused
from chat.models import AccessRecord, Conversation, Redaction
from chat.models.redaction import GAP
from chat.review import access, redaction
from chat.runtime.process import current_runtime

PHRASE, MESSAGE = "phrase", "message"


class RedactionForm(forms.Form):
    """What is removed, and why. `message`: the id of the message that may be removed as a whole."""

    what = forms.ChoiceField(choices=[(PHRASE, PHRASE), (MESSAGE, MESSAGE)])
    phrase = forms.CharField(
        label=gettext_lazy("Text to remove"), required=False, strip=True, widget=forms.Textarea({"rows": 3})
    )
    message = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    reason = forms.CharField(label=gettext_lazy("Why"), max_length=redaction.REASON_MAX_CHARS, required=False)

    def apply(self, conversation: Conversation, author: AbstractUser) -> Redaction:
        """Redact. Raises RequestRefused."""
        data = self.cleaned_data
        if data["what"] == MESSAGE:
            return redaction.redact_message(conversation, data["message"] or 0, author, data["reason"])
        return redaction.redact_phrase(conversation, data["phrase"], author, data["reason"])


def redaction_page(request: HttpRequest, site: AdminSite, conversation: Conversation) -> HttpResponse:
    """Show the form, or apply it and return to the transcript. Raises PermissionDenied."""
    user = request.user
    if not user.has_perm("chat.redact_conversation"):
        raise PermissionDenied
    assert isinstance(user, AbstractUser)
    message_id = request.GET.get("message", "")
    form = RedactionForm(request.POST or None)
    error = ""
    if request.method == "POST":
        if form.is_valid():
            try:
                done = form.apply(conversation, user)
            except RequestRefused as refused:
                error = refused.message
            else:
                return _redacted(request, conversation, done)
        else:
            error = _("Check the form: something in it is missing or too long.")
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Redact"),
        "opts": Conversation._meta,
        "conversation": conversation,
        "message_id": message_id if message_id.isascii() and message_id.isdigit() else "",
        "form": form,
        "error": error,
        "gap": GAP,
        "what": form.data.get("what") or (MESSAGE if message_id else PHRASE),
    }
    page = TemplateResponse(
        request, "admin/chat/conversation/redact.html", context, status=422 if error else 200
    )
    page.headers["Cache-Control"] = "no-store"
    return page


def _redacted(request: HttpRequest, conversation: Conversation, done: Redaction) -> HttpResponse:
    access.record(
        request,
        AccessRecord.Action.REDACT,
        conversation_id=conversation.pk,
        subject_id=conversation.user_id,
        details={"redaction": done.pk, "places": done.places},
    )
    # Pages that are open load the conversation again.
    current_runtime().notifications.changed(conversation.user_id, conversation.pk, "redacted")
    text = ngettext("Removed from %(count)d place.", "Removed from %(count)d places.", done.places)
    messages.success(request, text % {"count": done.places})
    return HttpResponseRedirect(reverse("admin:chat_conversation_change", args=[conversation.pk]))
