"""The page on which a conversation is read and judged, its live update, and the forms of its panel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from chat.admin.access import ask_for_reason
from chat.admin.desk_pages import agreement_page, queue_page
from chat.admin.panel_actions import apply_panel_action
from chat.admin.redaction import redaction_page
from chat.attachments.serving import file_response
from chat.errors import RequestRefused
from chat.models import AccessRecord, Attachment, Conversation, Mark
from chat.review import access, reading
from chat.review.marks import ReviewTarget, target_in
from chat.review.masking import is_masking, mask_for
from chat.review.panel import marks_of, panel_of
from chat.review.reviewers import reviewers

OTHERS_SHOWN = 12
# An open page asks for what is new; that is recorded with the opening, and again after this time.
OPENING_LASTS = timedelta(hours=2)


class TranscriptPages:
    """The pages of one conversation. `admin`: its model's admin, which decides what a user may see."""

    def __init__(self, admin: ModelAdmin[Conversation]) -> None:
        self._admin = admin

    def transcript(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a page of the transcript. `?live=1`: only its messages, for a page that is open already."""
        conversation = self._conversation(request, object_id)
        if access.needs_reason(request):
            return ask_for_reason(request)
        is_live = "live" in request.GET
        if not (is_live and _was_opened(request, conversation.pk)):
            access.record_open(request, conversation.pk, conversation.user_id)
        masks = mask_for(request.user)
        marks = marks_of(conversation, masks)
        page = reading.read_page(
            conversation,
            page_number=request.GET.get("page", ""),
            message_id=request.GET.get("message", ""),
            masks=masks,
            marks=marks,
        )
        context = {**self._may(request), "conversation": conversation, "transcript": page}
        if is_live:
            return self._page(request, "_messages", context)
        target = ReviewTarget(conversation.pk, page.wanted_id)
        others = Conversation.objects.filter(user=conversation.user_id, erasure=None).exclude(
            pk=conversation.pk
        )
        context |= {
            **self._admin.admin_site.each_context(request),
            "title": masks(str(conversation)),
            "opts": self._admin.opts,
            "media": self._admin.media,
            "system_prompt": masks(conversation.system_prompt),
            "others": [(other, masks(str(other))) for other in others[:OTHERS_SHOWN]],
            "other_count": OTHERS_SHOWN,
            "has_delete_permission": self._admin.has_delete_permission(request, conversation),
            **self._panel(request, conversation, target, marks),
        }
        return self._page(request, "transcript", context)

    def panel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the panel of a conversation or message, or apply one of its forms."""
        conversation = self._conversation(request, object_id)
        user = _user(request)
        if not user.has_perm("chat.review_conversation"):
            raise PermissionDenied
        error, status = "", 200
        values = request.POST if request.method == "POST" else request.GET
        try:
            target = target_in(conversation, values.get("message", ""))
        except RequestRefused as refused:
            raise Http404 from refused
        if request.method == "POST":
            try:
                apply_panel_action(user, conversation, target, request.POST)
            except RequestRefused as refused:
                error, status = refused.message, 422
            if not error and request.headers.get("X-Requested-With") != "fetch":
                return HttpResponseRedirect(_address(target))
        marks = marks_of(conversation, mask_for(request.user))
        context = {
            **self._may(request),
            **self._panel(request, conversation, target, marks),
            "conversation": conversation,
            "error": error,
            "target_marks": [mark for mark in marks if mark.message_id == target.message_id],
        }
        return self._page(request, "_panel_response", context, status)

    def redact(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show or apply the form that removes text."""
        return redaction_page(request, self._admin.admin_site, self._conversation(request, object_id))

    def attachment(self, request: HttpRequest, object_id: str, pk: UUID) -> HttpResponse:
        """Return a file of the conversation, and record that it was opened. Files cannot be masked."""
        conversation = self._conversation(request, object_id)
        if is_masking(mask_for(request.user)):
            raise PermissionDenied
        if access.needs_reason(request):
            return ask_for_reason(request)
        files = Attachment.objects.filter(uses__message__conversation=conversation).select_related("content")
        file = get_object_or_404(files.distinct(), pk=pk)
        access.record_open(request, conversation.pk, conversation.user_id, attachment=str(pk))
        try:
            response = file_response(request, file)
        except RequestRefused as refused:
            raise Http404 from refused
        response["Cache-Control"] = "no-store"
        return response

    def queue(self, request: HttpRequest) -> HttpResponse:
        return queue_page(request, self._admin.admin_site)

    def agreement(self, request: HttpRequest) -> HttpResponse:
        return agreement_page(request, self._admin.admin_site)

    def _conversation(self, request: HttpRequest, object_id: str) -> Conversation:
        """Return a conversation that the user may read. Raises PermissionDenied, Http404."""
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        try:
            pk = UUID(object_id)
        except ValueError as error:
            raise Http404 from error
        rows = Conversation.objects.filter(erasure=None).select_related("user", "model")
        return get_object_or_404(rows, pk=pk)

    def _may(self, request: HttpRequest) -> dict[str, bool]:
        verbs = ("review", "export", "redact")
        return {f"may_{verb}": request.user.has_perm(f"chat.{verb}_conversation") for verb in verbs} | {
            "may_see_files": not is_masking(mask_for(request.user)),
            "may_manage": request.user.has_perm("chat.manage_review"),
            "may_see_generations": request.user.has_perm("chat.view_generation"),
            "may_see_access": request.user.has_perm("chat.view_accessrecord"),
        }

    def _panel(
        self, request: HttpRequest, conversation: Conversation, target: ReviewTarget, marks: list[Mark]
    ) -> dict[str, Any]:
        user = _user(request)
        if not user.has_perm("chat.review_conversation"):
            return {"panel": None, "conversation_marks": []}
        may_assign = user.has_perm("chat.manage_review")
        return {
            "panel": panel_of(target, conversation, marks, user),
            "conversation_marks": [mark for mark in marks if mark.message_id is None],
            "reviewers": list(reviewers()) if may_assign else [],
        }

    def _page(
        self, request: HttpRequest, name: str, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        page = TemplateResponse(request, f"admin/chat/conversation/{name}.html", context, status=status)
        page.headers["Cache-Control"] = "no-store"
        return page


def _user(request: HttpRequest) -> AbstractUser:
    assert isinstance(request.user, AbstractUser)
    return request.user


def _was_opened(request: HttpRequest, conversation_id: UUID) -> bool:
    """Return whether the opening of the page that asks for an update is in the access log."""
    openings = AccessRecord.objects.filter(
        conversation_id=conversation_id,
        actor_id=_user(request).pk,
        action=AccessRecord.Action.OPEN,
        at__gt=timezone.now() - OPENING_LASTS,
    )
    return openings.exists()


def _address(target: ReviewTarget) -> str:
    address = reverse("admin:chat_conversation_change", args=[target.conversation_id])
    return (
        address
        if target.message_id is None
        else f"{address}?message={target.message_id}#m{target.message_id}"
    )
