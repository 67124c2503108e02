"""Run a batch at its provider: upload, submit, poll, collect.

Each step stores what it did before the next one begins, so a process may die anywhere. The dangerous moment
is the one in which the provider has a batch and we do not know it yet. So before submitting, the intention is
stored; and a process that finds one looks through the provider's batches for our key before it submits.
"""

from __future__ import annotations

import logging
import tempfile
from datetime import timedelta
from functools import partial
from typing import IO, Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import upstream
from chat.batches import collect, later, spending
from chat.generation import prompt, routing
from chat.generation.runner import GenerationRunner
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.models.budget_use import BudgetExceeded
from chat.models.catalog import Model
from chat.models.process import Process
from chat.upstream import BatchState, UpstreamError
from chat.upstream.batches import line_of

logger = logging.getLogger(__name__)

# As at OpenAI.
FILE_MAX_BYTES = 200 * 1024 * 1024
BACKOFF_S, BACKOFF_MAX_S = 5.0, 600.0
# A batch that was submitted is asked for as often before it counts as lost.
NOT_FOUND_MAX = 5
NOT_FOUND = 404
# What providers answer to the cancellation of a batch that has ended.
ALREADY_ENDED = (400, 404, 409, 422)


class LostBatch(Exception):
    """Another process has the batch by now."""


async def advance(runner: GenerationRunner, batch_id: UUID) -> None:
    """Do the next steps for a batch that the provider runs."""
    batch = await runner.log.writer.arun(partial(_claim, batch_id, runner.process_id))
    if batch is not None:
        await ProviderRun(runner, batch).advance()


def _claim(batch_id: UUID, process_id: str) -> Batch | None:
    """Make a process the owner of a batch, unless a living one is. Only an owner may write."""
    free = Q(owner__in=("", process_id)) | ~Q(owner__in=Process.objects.values("pk"))
    own = Batch.objects.due().filter(free, pk=batch_id)
    if not own.update(owner=process_id, epoch=F("epoch") + 1):
        return None
    return Batch.objects.select_related("model__endpoint", "user").get(pk=batch_id)


class ProviderRun:
    """One look at a batch, by its owner."""

    def __init__(self, runner: GenerationRunner, batch: Batch) -> None:
        self._runner = runner
        self._writer = runner.log.writer
        self._batch = batch

    async def advance(self) -> None:
        """Do as much as can be done now. A failure is stored, and tried again later if that may help."""
        try:
            await self._advance()
        except LostBatch:
            logger.info("batch %s has another owner", self._batch.pk)
        except UpstreamError as exc:
            await self._failed(exc)

    async def _advance(self) -> None:
        batch = self._batch
        if batch.status == Batch.Status.CANCELLING and not (batch.provider_batch or batch.submit_began_at):
            await self._end_unsubmitted()
            return
        if batch.model is None:
            await self._end(Batch.Status.FAILED, _("The model of this batch no longer exists."))
            return
        target = (await routing.find([batch.model], self._runner.local_model)).targets[0]
        provider = upstream.ProviderBatches(self._runner.client, target.base_url, target.api_key)
        if not batch.provider_batch and not await self._submit(provider, batch.model, target):
            return
        if batch.status == Batch.Status.CANCELLING and batch.provider_status != "cancelling":
            await self._cancel(provider)
        state = await provider.state(batch.provider_batch)
        await self._set(
            provider_status=state.status[:40],
            provider_counts=state.counts,
            failures=0,
            error_message="",
            next_look_at=timezone.now() + timedelta(seconds=self._poll_s()),
            owner="" if not state.is_final else self._runner.process_id,
        )
        if state.is_final:
            await self._collect(provider, state)

    async def _cancel(self, provider: upstream.ProviderBatches) -> None:
        try:
            await provider.cancel(self._batch.provider_batch)
        except UpstreamError as exc:
            if exc.status not in ALREADY_ENDED:
                raise

    async def _submit(
        self, provider: upstream.ProviderBatches, model: Model, target: upstream.Target
    ) -> bool:
        """Make sure that the provider has this round once. Return False if the batch has ended instead."""
        batch = self._batch
        if batch.submit_began_at is not None:
            found = await provider.find(batch.provider_key)
            if found is not None:
                await self._set(provider_batch=found.id)
                return True
            if batch.status == Batch.Status.CANCELLING:
                await self._end_unsubmitted()
                return False
        try:
            await self._writer.arun(partial(spending.check_fits, batch))
        except BudgetExceeded as exc:
            await self._end(Batch.Status.FAILED, exc.message)
            return False
        if not batch.provider_file:
            with tempfile.TemporaryFile() as file:
                size = await database_sync_to_async(self._write_file)(file, model, target)
                if not size:  # its only question was erased
                    await self._end_unsubmitted()
                    return False
                if size > FILE_MAX_BYTES:
                    text = _("The batch is larger than providers accept (200 MB). Run it here, or divide it.")
                    await self._end(Batch.Status.FAILED, text)
                    return False
                name = f"chatsite-{batch.provider_key}.jsonl"
                uploaded = await provider.find_file(name, size) or await provider.upload(name, file)
            await self._set(provider_file=uploaded)
        await self._set(submit_began_at=timezone.now())
        state = await provider.submit(batch.provider_file, batch.provider_key)
        await self._set(provider_batch=state.id, provider_status=state.status[:40])
        await self._notify_question("selected")
        return True

    def _write_file(self, file: IO[bytes], model: Model, target: upstream.Target) -> int:
        """Write the lines to submit; return the size. Stops above the limit."""
        lines = self._batch.lines.filter(state=BatchLine.State.WAITING).order_by("number")
        if self._batch.is_question:
            lines = lines.filter(generation__finished_at=None, generation__isnull=False)
        size = 0
        for line in lines.iterator(chunk_size=500):
            if line.generation is not None:
                fitted = prompt.of_chat(line.generation, model)
            else:
                fitted = prompt.from_request(self._batch.request_of(line).cleaned(), model)
            size += file.write(line_of(collect.line_id(line.number), target, fitted.prompt))
            if size > FILE_MAX_BYTES:
                break
        file.seek(0)
        return size

    async def _collect(self, provider: upstream.ProviderBatches, state: BatchState) -> None:
        """Store the results of a batch that has ended at the provider, and end it here."""
        # First the answers: a line that is in both files has one.
        for file in filter(None, (state.output_file, state.error_file)):
            part: list[upstream.LineResult] = []
            async for result in provider.results(file):
                part.append(result)
                if len(part) == collect.SLICE_RESULTS:
                    await collect.store(self._writer, self._batch.pk, part)
                    part = []
            await collect.store(self._writer, self._batch.pk, part)
        rest = {
            "expired": (BatchLine.State.EXPIRED, "expired", _("The provider did not run it in time.")),
            "cancelled": (BatchLine.State.CANCELLED, "cancelled", _("The batch was cancelled.")),
            "failed": (
                BatchLine.State.FAILED,
                "batch_failed",
                _("The provider refused the batch. %(error)s") % {"error": state.error},
            ),
        }.get(
            state.status,
            (BatchLine.State.FAILED, "missing", _("The provider returned no result for this row.")),
        )
        await collect.end_rest(self._writer, self._batch.pk, *rest)
        await self._end(state.status, rest[2] if state.status == "failed" else "")

    async def _end_unsubmitted(self) -> None:
        rest = (BatchLine.State.CANCELLED, "cancelled", _("The batch was cancelled."))
        await collect.end_rest(self._writer, self._batch.pk, *rest)
        await self._end(Batch.Status.CANCELLED)

    async def _end(self, status: str, error_message: str = "") -> None:
        if status == Batch.Status.FAILED:
            rest = (BatchLine.State.FAILED, "batch_failed", error_message)
            await collect.end_rest(self._writer, self._batch.pk, *rest)
        await self._writer.arun(partial(self._batch.finish, status, error_message))
        await self._notify_question("finished")

    async def _notify_question(self, what: str) -> None:
        if self._batch.is_question:
            await later.notify(self._runner, self._batch, what)

    async def _failed(self, exc: UpstreamError) -> None:
        """Store a failed call. A batch that the provider may have is never given up because of one."""
        batch = self._batch
        logger.warning("batch %s: %s", batch.pk, exc.code)
        is_submitted = bool(batch.provider_batch)
        is_lost = is_submitted and exc.status == NOT_FOUND and batch.failures + 1 >= NOT_FOUND_MAX
        is_ambiguous = batch.submit_began_at is not None and exc.status is None
        may_help = is_submitted or is_ambiguous or exc.retryable
        text = routing.describe_to_program(exc, batch.model)
        if is_lost or not may_help:
            await self._end(Batch.Status.FAILED, text)
            return
        wait_s = min(BACKOFF_S * 2**batch.failures, BACKOFF_MAX_S)
        await self._try_to_set(
            failures=min(batch.failures + 1, 20),
            error_message=text,
            next_look_at=timezone.now() + timedelta(seconds=max(wait_s, exc.retry_after_s or 0)),
            owner="",
        )
        await self._notify_question("selected")

    async def _set(self, **values: Any) -> None:
        """Store values as the owner. Raises LostBatch."""
        if not await self._try_to_set(**values):
            raise LostBatch
        for name, value in values.items():
            setattr(self._batch, name, value)

    async def _try_to_set(self, **values: Any) -> bool:
        own = Batch.objects.filter(pk=self._batch.pk, epoch=self._batch.epoch, round=self._batch.round)
        return bool(await self._writer.arun(lambda: own.update(**values)))

    def _poll_s(self) -> float:
        """Return how long until the next look: often at first, then less often."""
        age_s = (timezone.now() - (self._batch.submit_began_at or timezone.now())).total_seconds()
        return float(min(max(settings.BATCH_POLL_S, age_s / 20), settings.BATCH_POLL_S * 10))
