"""Batches in the browser: upload, preview, start, follow, and take the results away."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from chat.batches import intake, opening, results, tables
from chat.batches.forecast import forecast, progress
from chat.batches.invalid_input import InputInvalid, invalid
from chat.batches.lines import LineSource
from chat.errors import RequestRefused
from chat.models import Batch, BatchLine
from chat.models.limits import not_found
from chat.runtime.process import current_runtime
from chat.views.access import AuthenticatedRequest, account_page, signed_in
from chat.views.batch_forms import BatchForm

LISTED_MAX = 200
PREVIEWED = 5
ROWS_PER_PAGE = 50
PIECE_BYTES = 256 * 1024
ACTIONS = ("pause", "resume", "cancel", "retry")


@signed_in("GET")
def index(request: AuthenticatedRequest) -> HttpResponse:
    """List the user's batches, the newest first."""
    batches = [(each, progress(each)) for each in Batch.objects.of(request.user)[:LISTED_MAX]]
    return render(request, "batches/index.html", {"batches": batches})


@signed_in("GET", "POST")
def new(request: AuthenticatedRequest) -> HttpResponse:
    """Show the form of a new batch; a POST stores what was uploaded and leads to its preview."""
    form = BatchForm(request.POST or None, request.FILES or None)
    refused: RequestRefused | None = None
    if request.method == "POST" and form.is_valid():
        try:
            batch = _accept(request, form)
            return redirect("batch", batch.pk)
        except RequestRefused as error:
            refused = error
    problems = refused.problems if isinstance(refused, InputInvalid) else []
    further = refused.further if isinstance(refused, InputInvalid) else 0
    context = {"form": form, "refused": refused, "problems": problems, "further": further}
    context["has_file"] = bool(request.FILES)
    is_invalid = refused is not None or (form.is_bound and not form.is_valid())
    return render(request, "batches/new.html", context, status=422 if is_invalid else 200)


def _accept(request: AuthenticatedRequest, form: BatchForm) -> Batch:
    values = form.cleaned_data
    uploaded: UploadedFile[bytes] | None = values["file"]
    if uploaded is None and not values["prompts"].strip():
        raise invalid(_("Paste some prompts, or choose a file."))
    with tempfile.NamedTemporaryFile() as file:
        if uploaded is None:
            file.write(values["prompts"].encode())
            kind, name = "txt", values["prompts"].strip().splitlines()[0][:60]
        else:
            for chunk in uploaded.chunks():
                file.write(chunk)
            file.seek(0)
            name = uploaded.name or "file"
            kind = tables.kind_of(name, file.read(8))
        file.flush()
        batch = intake.new_batch(
            request.user,
            values["model"],
            name,
            system_prompt=values["system_prompt"],
            parameters=form.parameters(),
        )
        template = "" if uploaded is None else values["template"]
        source = LineSource(Path(file.name), kind, template, values["system_prompt"])
        return intake.accept(current_runtime().writer, batch, source)


@signed_in("GET", "POST")
def show(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show a batch: what will be sent, or how far it is. A POST starts it."""
    batch = Batch.get_for(request.user, pk)
    if request.method == "POST":
        runner = request.POST.get("runner", "")
        _change(request, pk, partial(_start, batch, runner))
        return redirect("batch", batch.pk)
    if batch.status == Batch.Status.READY:
        lines = [(line, batch.request_of(line).messages) for line in batch.lines.all()[:PREVIEWED]]
        context = {"batch": batch, "lines": lines, "forecast": forecast(batch) if batch.model else None}
        return render(request, "batches/preview.html", context)
    context = {**_progress(batch), **_rows(request, batch)}
    return render(request, "batches/show.html", context)


def _start(batch: Batch, runner: str) -> None:
    if runner in Batch.Runner and batch.status == Batch.Status.READY:
        if runner == Batch.Runner.PROVIDER and not (batch.model and batch.model.endpoint.has_batch_api):
            raise RequestRefused("no_batch_api", _("The provider of this model has no batch API."))
        Batch.objects.filter(pk=batch.pk, status=Batch.Status.READY).update(runner=runner)
    batch.start()


@signed_in("GET")
def show_progress(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the part of the page that changes while a batch runs."""
    batch = Batch.get_for(request.user, pk)
    return render(request, "batches/_live.html", {**_progress(batch), **_rows(request, batch)})


def _progress(batch: Batch) -> dict[str, Any]:
    can_retry = batch.is_ended and batch.failed > 0
    return {"batch": batch, "progress": progress(batch), "can_retry": can_retry, "formats": results.FORMATS}


def _rows(request: AuthenticatedRequest, batch: Batch) -> dict[str, Any]:
    state = request.GET.get("state", "")
    lines = batch.lines.order_by("number").select_related("generation__message").defer("request")
    if state in BatchLine.State:
        lines = lines.filter(state=state)
    elif state == "unsuccessful":
        lines = lines.filter(state__in=BatchLine.UNSUCCESSFUL)
    else:
        state = ""
    page = Paginator(lines, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    return {"page": page, "state": state}


@signed_in("POST")
def act(request: AuthenticatedRequest, pk: uuid.UUID, action: str) -> HttpResponse:
    """Pause, resume, cancel, retry or delete a batch."""
    batch = Batch.get_for(request.user, pk)
    writer = current_runtime().writer
    if action == "delete":
        if batch.is_active:
            messages.error(request, _("Cancel the batch first."))
            return redirect("batch", batch.pk)
        async_to_sync(intake.delete)(writer, batch)
        messages.info(request, _("“%(name)s” was deleted. Its answers are kept.") % {"name": batch.name})
        return redirect("batches")
    if action not in ACTIONS:
        raise Http404
    _change(request, pk, getattr(batch, action))
    return redirect("batch", batch.pk)


def _change(request: AuthenticatedRequest, pk: uuid.UUID, verb: Any) -> None:
    try:
        current_runtime().writer.run(verb)
        current_runtime().notifications.batch_changed(request.user.pk, pk)
    except RequestRefused as refused:
        messages.error(request, refused.message)


@signed_in("POST")
def open_result(request: AuthenticatedRequest, pk: uuid.UUID, number: int) -> HttpResponse:
    """Open the answer to one row as a conversation."""
    batch = Batch.get_for(request.user, pk)
    lines = batch.lines.select_related("batch", "generation__message__conversation")
    line = lines.filter(number=number).first()
    if line is None:
        raise not_found()
    conversation = current_runtime().writer.run(partial(opening.open_line, line))
    return redirect("conversation", conversation.pk)


@account_page
@require_GET
def download(request: AuthenticatedRequest, pk: uuid.UUID, kind: str) -> HttpResponseBase:
    """Download all rows with what there is of their answers."""
    try:
        batch = Batch.get_for(request.user, pk)
    except RequestRefused as refused:
        raise Http404 from refused
    if kind not in results.FORMATS:
        raise Http404
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    results.write(batch, kind, file)
    file.seek(0)
    response = StreamingHttpResponse(_pieces(file), content_type=results.FORMATS[kind])
    name = f"{batch.name.rsplit('.', 1)[0] or 'batch'}-results.{kind}"
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name) or ""
    response["Cache-Control"] = "no-store"
    return response


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while piece := await database_sync_to_async(file.read)(PIECE_BYTES):
            yield piece
