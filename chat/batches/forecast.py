"""What a batch will take, both ways, and how far one is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone

from chat.models.attempt import Attempt
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.models.catalog import Model
from chat.models.prices import CallTokens

# So many of a model's latest calls say how long an answer is and takes.
SAMPLE = 50
# The length of an answer of a model that nobody has asked yet.
DEFAULT_OUTPUT_TOKENS = 300
# The share of an endpoint's slots that bulk can count on.
BULK_SHARE = 0.5
# The first seconds say little about the speed.
RATE_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """Tokens, and costs in US dollars; None: the model has no prices. `local_s`: None: nothing is known."""

    input_tokens: int
    output_tokens: int
    local_usd: Decimal | None
    provider_usd: Decimal | None
    local_s: float | None
    has_batch_api: bool

    @property
    def local_minutes(self) -> int | None:
        return None if self.local_s is None else max(1, round(self.local_s / 60))


def forecast(batch: Batch) -> Forecast:
    """Estimate what a batch will take. `batch.model` is there."""
    model = batch.model
    assert model is not None
    tokens, seconds = _usual(model)
    output = round(tokens * batch.total)
    call = CallTokens(batch.prompt_tokens, output)
    slots = max(1, round(model.endpoint.slots * BULK_SHARE))
    return Forecast(
        batch.prompt_tokens,
        output,
        model.cost_usd(call),
        model.cost_usd(call, is_batch=True),
        None if seconds is None else seconds * batch.total / min(slots, batch.total or 1),
        model.endpoint.has_batch_api,
    )


def _usual(model: Model) -> tuple[float, float | None]:
    """Return the mean length in tokens and time in seconds of a model's latest complete answers."""
    newest = Attempt.objects.order_by("-pk").filter(model_name=model.name, outcome=Attempt.Outcome.COMPLETED)
    calls = [each for each in newest[:SAMPLE] if each.output_tokens]
    if not calls:
        return DEFAULT_OUTPUT_TOKENS, None
    took = [each.duration_s for each in calls if each.duration_s]
    tokens = sum(each.output_tokens or 0 for each in calls) / len(calls)
    return tokens, sum(took) / len(took) if took else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is. Widths are in percent of all rows. `left_s`: None: not known."""

    done: int
    running: int
    waiting: int
    completed_width: float
    failed_width: float
    failed_from: float
    percent: int
    per_minute: float | None
    left_s: float | None

    @property
    def left_minutes(self) -> int | None:
        return None if self.left_s is None else max(1, round(self.left_s / 60))


def progress(batch: Batch) -> Progress:
    """Return how far a batch is. Counts only what runs, of which there is little."""
    running = batch.lines.filter(state=BatchLine.State.RUNNING).count() if batch.is_active else 0
    total = batch.total or 1
    rate = left = None
    if batch.is_active and batch.started_at is not None and batch.done:
        age_s = (timezone.now() - batch.started_at).total_seconds()
        if age_s > RATE_AFTER_S:
            rate = batch.done / age_s
            left = (batch.total - batch.done) / rate
    completed, failed = 100 * batch.completed / total, 100 * batch.failed / total
    return Progress(
        done=batch.done,
        running=running,
        waiting=max(0, batch.total - batch.done - running),
        completed_width=round(completed, 2),
        failed_width=round(failed, 2),
        failed_from=round(completed, 2),
        percent=int(100 * batch.done / total),
        per_minute=None if rate is None else rate * 60,
        left_s=left,
    )
