"""The pages on which users import conversations: upload, progress, report, undo.

A page sends a file in parts, one after the other, and goes on after a lost connection.
"""

from __future__ import annotations

import uuid

from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models import ConversationImport, ImportReportRow
from chat.models.conversation_import import ABANDONED_AFTER
from chat.runtime.http_limits import IMPORT_PART_MAX_BYTES
from chat.tasks import run_imports
from chat.transfer.formats.parsed import line_of
from chat.transfer.importing.run import upload_path
from chat.views.access import AuthenticatedRequest, signed_in

FILE_MAX_BYTES = 4 * 1024**3
# Uploads and imports of a user that have not ended.
ACTIVE_MAX = 10
REPORT_ROWS = 100
IMPORTS_SHOWN = 50
Status = ConversationImport.Status


@signed_in("GET", "POST")
def imports(request: AuthenticatedRequest) -> HttpResponse:
    """List the user's imports. A POST begins an upload and returns the address of its parts."""
    own = ConversationImport.objects.of(request.user)
    if request.method == "POST":
        size = request.POST.get("size", "")
        if not size.isascii() or not size.isdigit() or len(size) > 15 or not 0 < int(size) <= FILE_MAX_BYTES:
            raise RequestRefused("bad_file", _("The file is empty or larger than 4 GB."))
        if own.filter(finished_at=None).count() >= ACTIVE_MAX:
            raise RequestRefused("too_many", _("Wait until your other imports have ended."))
        name = line_of(request.POST.get("name", "").replace("\\", "/").rpartition("/")[2]) or "export"
        made = own.create(user=request.user, file_name=name, size_bytes=int(size))
        return JsonResponse(
            {"part": reverse("import_part", args=[made.pk]), "part_bytes": IMPORT_PART_MAX_BYTES}
        )
    shown = list(own.exclude(status=Status.UPLOADING)[:IMPORTS_SHOWN])
    context = {"imports": shown, "is_active": any(each.is_active for each in shown)}
    return render(request, "accounts/imports.html", context)


@signed_in("POST")
def part(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Store the next part of an upload. Tells how much there is; 409 if the part begins elsewhere."""
    found = ConversationImport.objects.get_for(request.user, pk)
    offset = request.GET.get("offset", "")
    if found.status != Status.UPLOADING or offset != str(found.received_bytes):
        return JsonResponse({"received": found.received_bytes}, status=409)
    data = request.read(IMPORT_PART_MAX_BYTES + 1)
    received = found.received_bytes + len(data)
    if not data or received > found.size_bytes:
        raise RequestRefused("bad_file", _("The file has changed. Choose it again."))
    path = upload_path(found.pk)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # A part whose row was not stored any more is written again.
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(found.received_bytes)
        file.write(data)
        file.truncate()
    values = {"received_bytes": received, "changed_at": timezone.now()}
    if received == found.size_bytes:
        values["status"] = Status.WAITING
    waiting = ConversationImport.objects.filter(pk=found.pk, received_bytes=found.received_bytes)
    waiting.filter(status=Status.UPLOADING).update(**values)
    if received == found.size_bytes:
        transaction.on_commit(run_imports.enqueue, robust=True)
    return JsonResponse({"received": received})


@signed_in("GET")
def report(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show how far an import is, and what became of each conversation."""
    found = ConversationImport.objects.get_for(request.user, pk)
    rows = found.report.select_related("conversation")
    outcome = request.GET.get("outcome", "")
    if outcome in ImportReportRow.Outcome.values:
        rows = rows.filter(outcome=outcome)
    page = Paginator(rows, REPORT_ROWS).get_page(request.GET.get("page"))
    outcomes = [("", _("All")), *ImportReportRow.Outcome.choices]
    context = {"import": found, "page": page, "outcome": outcome, "outcomes": outcomes}
    return render(request, "accounts/import.html", context)


@signed_in("POST")
def undo(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Have everything that an import added erased again."""
    found = ConversationImport.objects.get_for(request.user, pk)
    if found.can_be_undone:
        # As if its process had ended: whoever finds it goes on.
        long_ago = timezone.now() - 2 * ABANDONED_AFTER
        ConversationImport.objects.filter(pk=found.pk, status=found.status).update(
            status=Status.UNDOING, finished_at=None, changed_at=long_ago
        )
        transaction.on_commit(run_imports.enqueue, robust=True)
    return redirect("import", pk=found.pk)


@signed_in("POST")
def remove(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Delete the report of an import that has ended. What it imported stays."""
    found = ConversationImport.objects.get_for(request.user, pk)
    if not found.is_active:
        found.delete()
        upload_path(found.pk).unlink(missing_ok=True)
    return redirect("imports")
