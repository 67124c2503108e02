"""Pages of the review desk beside the transcript: the reviewer's queue, and the agreement of reviewers."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from chat.models import Assignment
from chat.review.masking import mask_for
from chat.review.reviewers import agreements, progress

QUEUE_ROWS = 50


def queue_page(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show what the user is to review, oldest first, and how far every reviewer is."""
    user = _reviewer(request)
    masks = mask_for(user)
    own = Assignment.objects.filter(reviewer=user.pk, conversation__erasure=None)
    rows = own.to_do().select_related("conversation__user", "conversation__model").order_by("pk")
    page = Paginator(rows, QUEUE_ROWS).get_page(request.GET.get("page"))
    everyone = progress()
    context = {
        **site.each_context(request),
        "title": _("My queue"),
        "page": page,
        "rows": [(assignment, masks(str(assignment.conversation))) for assignment in page],
        "own": next((each for each in everyone if each.reviewer_id == user.pk), None),
        "everyone": everyone,
    }
    return TemplateResponse(request, "admin/chat/conversation/queue.html", context)


def agreement_page(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show how often two reviewers gave the same verdict on the same item."""
    _reviewer(request)
    context = {**site.each_context(request), "title": _("Agreement of reviewers"), "agreements": agreements()}
    return TemplateResponse(request, "admin/chat/conversation/agreement.html", context)


def _reviewer(request: HttpRequest) -> AbstractUser:
    user = request.user
    if not user.has_perms(["chat.view_conversation", "chat.review_conversation"]):
        raise PermissionDenied
    assert isinstance(user, AbstractUser)
    return user
