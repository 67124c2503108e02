"""The download of conversations: checked, recorded, streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from chat.admin.access import ask_for_reason
from chat.models import AccessRecord, Conversation
from chat.review import access
from chat.review.export import ExportFormat, export
from chat.review.masking import is_masking, mask_for

# An export of conversations of more users has one record, not one for each.
RECORDED_USERS_MAX = 100


def export_link(request: HttpRequest) -> HttpResponseBase:
    """Export the conversations that the address names. `?id=…&format=…`"""
    try:
        kind = ExportFormat(request.GET.get("format", ExportFormat.JSONL))
        ids = [UUID(value) for value in request.GET.getlist("id")]
    except ValueError as error:
        raise Http404 from error
    found = set(Conversation.objects.filter(pk__in=ids, erasure=None).values_list("pk", flat=True))
    return export_response(request, [pk for pk in ids if pk in found], kind)


def export_response(request: HttpRequest, ids: Sequence[UUID], kind: ExportFormat) -> HttpResponseBase:
    """Return the export of these conversations, after it is recorded. Raises PermissionDenied, Http404."""
    if not request.user.has_perms(["chat.view_conversation", "chat.export_conversation"]):
        raise PermissionDenied
    if not ids:
        raise Http404
    if access.needs_reason(request):
        return ask_for_reason(request)
    masks = mask_for(request.user)
    _record(request, ids, kind, is_masked=is_masking(masks))
    response = StreamingHttpResponse(_stream(export(ids, kind, masks)), content_type=kind.content_type)
    name = f"conversations-{timezone.now():%Y-%m-%d-%H%M}.{kind.extension}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _record(request: HttpRequest, ids: Sequence[UUID], kind: ExportFormat, *, is_masked: bool) -> None:
    details: dict[str, Any] = {"format": kind.value, "total": len(ids), "masked": is_masked}
    if filters := request.GET.urlencode():
        details["filters"] = filters[:1000]
    owners: Counter[int] = Counter()
    for start in range(0, len(ids), 500):
        rows = Conversation.objects.filter(pk__in=ids[start : start + 500])
        owners.update(rows.values_list("user_id", flat=True))
    if len(owners) > RECORDED_USERS_MAX:
        access.record(request, AccessRecord.Action.EXPORT, details={**details, "users": len(owners)})
        return
    for user_id, count in owners.items():
        access.record(
            request,
            AccessRecord.Action.EXPORT,
            conversation_id=ids[0] if len(ids) == 1 else None,
            subject_id=user_id,
            details={**details, "of_this_user": count},
        )


async def _stream(parts: Iterator[str]) -> AsyncIterator[bytes]:
    """Yield the parts. Each is read in a database thread; nothing is read ahead of the client."""
    while (part := await database_sync_to_async(_next)(parts)) is not None:
        yield part.encode(errors="replace")


def _next(parts: Iterator[str]) -> str | None:
    return next(parts, None)
