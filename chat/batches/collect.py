"""The results of a provider's batch as generations, each once, at the batch price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import events, rendering
from chat.batches import later, spending
from chat.batches.feeding import ask, locked
from chat.event_log.writer import Writer
from chat.generation import prompt, routing
from chat.generation.attempts import AttemptRecorder
from chat.generation.outcome import FinalText, save_outcome
from chat.generation.usage import USAGE_FIELDS, UsageTotal, estimate_prompt, estimate_tokens, set_cost
from chat.models.attempt import Attempt
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.models.catalog import Model
from chat.models.generation import Generation
from chat.text import clean, text_of
from chat.upstream import LineResult

# Results stored in one transaction.
SLICE_RESULTS = 10
END_LINES = 500
# Until another try to lock a batch that, for example, its user is just cancelling.
LOCK_AGAIN_S = 0.05


class BatchInUse(Exception):
    """Another transaction has the batch; what was to be stored is stored after it."""


def line_id(number: int) -> str:
    """Return the id that a line has at the provider. Ours are chosen by users, and may be odd."""
    return f"line-{number}"


def _number_of(custom_id: str) -> int | None:
    digits = custom_id.removeprefix("line-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


async def store(writer: Writer, batch_id: UUID, results: Sequence[LineResult]) -> None:
    """Store some results. Those of lines that have ended already change nothing."""
    rendered = [(each, await rendering.arender(each.text)) for each in results]
    await _locked_write(writer, lambda: _store(writer, batch_id, rendered))


async def end_rest(writer: Writer, batch_id: UUID, state: str, code: str, reason: str) -> None:
    """End all lines for which there is no result."""
    while await _locked_write(writer, partial(_end_some, writer, batch_id, state, code, reason)):
        pass


async def _locked_write[T](writer: Writer, operation: Callable[[], T]) -> T:
    while True:
        try:
            return await writer.arun(operation)
        except BatchInUse:
            await asyncio.sleep(LOCK_AGAIN_S)


def _locked(batch_id: UUID) -> Batch | None:
    """Return the batch, locked; None if it was deleted. Raises BatchInUse."""
    batch = locked(batch_id)
    if batch is None and Batch.objects.filter(pk=batch_id).exists():
        raise BatchInUse
    return batch


@transaction.atomic
def _store(writer: Writer, batch_id: UUID, results: Sequence[tuple[LineResult, str]]) -> None:
    batch = _locked(batch_id)
    if batch is None:
        return
    found = (_number_of(result.custom_id) for result, _html in results)
    numbers = [number for number in found if number is not None]
    waiting = batch.lines.filter(number__in=numbers, state=BatchLine.State.WAITING)
    lines = {line.number: line for line in waiting}
    ended = []
    for result, html in results:
        line = lines.pop(_number_of(result.custom_id) or 0, None)
        if line is None:
            continue
        if result.error is not None:
            reason = routing.describe_to_program(result.error, batch.model)
            code = result.error_code or result.error.code
            line.end(_state_of(code), code=code, reason=reason)
            later.end_unanswered(writer, line)
        else:
            _answer(writer, batch, line, result, html)
        ended.append(line)
    BatchLine.objects.bulk_update(ended, ["state", "error_code", "reason", "generation"])
    batch.record(ended)


def _state_of(code: str) -> str:
    if "expired" in code:
        return BatchLine.State.EXPIRED
    return BatchLine.State.CANCELLED if "cancel" in code else BatchLine.State.FAILED


def _answer(writer: Writer, batch: Batch, line: BatchLine, result: LineResult, html: str) -> None:
    """Store a generation that has ended, with its question and answer."""
    model, generation_id = batch.model, _asked(batch, line)
    if model is None or generation_id is None:
        return
    generation = Generation.objects.select_related("message__conversation").get(pk=generation_id)
    line.generation, line.state = generation, BatchLine.State.COMPLETED
    if generation.finished_at is not None:
        if batch.is_question:
            _count_cancelled(batch, generation, model, result)
        return
    generation.started_at = batch.submit_began_at or timezone.now()
    if not batch.is_question:
        generation.created_at, generation.has_log = generation.started_at, False
    generation.calls = 1
    generation.save(update_fields=["created_at", "started_at", "has_log"])
    spending.count(spending.uses_of(batch), _count(generation, model, result))
    calls = [events.WholeToolCall(*call) for call in result.tool_calls]
    final = FinalText(
        clean(result.text or result.refusal),
        clean(result.thinking),
        html,
        calls,
        is_refusal=bool(result.refusal and not result.text),
    )
    completed = events.Completed(result.finish_reason)
    save_outcome(generation, completed, final, AttemptRecorder(generation, None, writer))


def _asked(batch: Batch, line: BatchLine) -> int | None:
    """Return the id of a line's generation; None: there is none, and the line has failed."""
    if not batch.is_question:
        return ask(batch, line)
    if line.generation_id is None:
        line.end(BatchLine.State.FAILED, code="erased", reason=_("The question was erased."))
    return line.generation_id


def _count_cancelled(batch: Batch, generation: Generation, model: Model, result: LineResult) -> None:
    """Count an answer that its user had cancelled, and that the provider gave and bills all the same."""
    generation.calls = 1
    spending.count(spending.uses_of(batch), _count(generation, model, result))
    generation.save(update_fields=["calls", *USAGE_FIELDS])


def _count(generation: Generation, model: Model, result: LineResult) -> Attempt:
    """Store what the provider's call used, as an attempt of the generation, and return it."""
    now = timezone.now()
    attempt = Attempt(
        generation=generation,
        number=1,
        model_name=model.name,
        endpoint_name=model.endpoint.name,
        outcome=Attempt.Outcome.COMPLETED,
        started_at=generation.started_at or now,
        finished_at=now,
    )
    usage = result.usage
    if usage is not None and usage.prompt_tokens is not None and usage.completion_tokens is not None:
        attempt.input_tokens, attempt.output_tokens = usage.prompt_tokens, usage.completion_tokens
        attempt.cached_tokens, attempt.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens
    else:
        request = generation.api_request
        messages = request.messages if request else prompt.of_chat(generation, model).prompt.messages
        attempt.input_tokens = estimate_prompt(map(text_of, messages))
        attempt.output_tokens = estimate_tokens(result.thinking + result.text)
        attempt.is_usage_estimated = True
    set_cost(attempt, model, is_batch=True)
    attempt.save()
    total = UsageTotal()
    total.add(attempt)
    total.store(generation)
    return attempt


@transaction.atomic
def _end_some(writer: Writer, batch_id: UUID, state: str, code: str, reason: str) -> bool:
    """End some lines for which there is no result. Return whether there may be more."""
    batch = _locked(batch_id)
    if batch is None:
        return False
    lines = list(batch.lines.filter(state__in=BatchLine.OPEN).select_related("generation")[:END_LINES])
    for line in lines:
        line.end(state, code=code, reason=reason)
        later.end_unanswered(writer, line)
    BatchLine.objects.bulk_update(lines, ["state", "error_code", "reason"])
    batch.record(lines)
    return len(lines) == END_LINES
