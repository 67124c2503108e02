"""The timeline of a generation as a picture: queue, attempts, first text, end. Geometry only, no markup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Attempt, Generation

WIDTH = 600
BAR_HEIGHT = 14
ROW_HEIGHT = 22
# Nothing is drawn narrower, so that a short phase can still be seen.
WIDTH_MIN = 2.0


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """A phase of the run. `kind`: queue, backoff, wait, write or cut; lengths are units of the picture."""

    kind: str
    x: float
    width: float
    row: int
    words: str

    @property
    def y(self) -> int:
        return self.row * ROW_HEIGHT + 4

    @property
    def height(self) -> int:
        return BAR_HEIGHT


@dataclass(frozen=True, slots=True)
class TimelineRow:
    label: str
    y: int


@dataclass(frozen=True, slots=True)
class TimelineTick:
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class TimelinePicture:
    """`description`: all of it in words, for those who do not see the picture."""

    bars: list[TimelineBar]
    rows: list[TimelineRow]
    ticks: list[TimelineTick]
    first_text_x: float | None
    description: str
    width: int = WIDTH

    @property
    def height(self) -> int:
        return len(self.rows) * ROW_HEIGHT

    @property
    def total_height(self) -> int:
        """With the axis."""
        return self.height + 18


def timeline_of(generation: Generation, attempts: list[Attempt]) -> TimelinePicture:
    """Return the picture of a generation, up to now if it is running."""
    start = generation.created_at
    ends = [attempt.finished_at for attempt in attempts if attempt.finished_at]
    end = generation.finished_at or timezone.now()
    end = max([end, *ends, start + timedelta(milliseconds=1)])
    scale = _Scale(start, WIDTH / (end - start).total_seconds())
    bars = []
    rows = [TimelineRow(str(_("Queue")), 0)]
    queue_end = generation.started_at or (attempts[0].started_at if attempts else end)
    bars.append(scale.bar("queue", start, queue_end, 0, _("queued")))
    for number, attempt in enumerate(attempts, start=1):
        rows.append(TimelineRow(f"{attempt.number} · {attempt.model_name}", number * ROW_HEIGHT))
        bars += _attempt_bars(scale, attempt, number, end)
    bars = [bar for bar in bars if bar.words]
    first = generation.first_delta_at
    description = "; ".join(bar.words for bar in bars)
    return TimelinePicture(
        bars, rows, _ticks(scale, end), None if first is None else scale.x(first), description
    )


def _attempt_bars(scale: _Scale, attempt: Attempt, row: int, end: datetime) -> list[TimelineBar]:
    waited = attempt.started_at - timedelta(seconds=attempt.queued_s)
    backoff = waited - timedelta(seconds=attempt.wait_s)
    finished = attempt.finished_at or end
    first = attempt.first_delta_at
    is_good = attempt.outcome in {Attempt.Outcome.COMPLETED, Attempt.Outcome.RUNNING}
    bars = [
        scale.bar("backoff", backoff, waited, row, _("backoff")),
        scale.bar("queue", waited, attempt.started_at, row, _("queued")),
        scale.bar(
            "wait" if first or is_good else "cut", attempt.started_at, first or finished, row, _("waiting")
        ),
    ]
    if first:
        bars.append(scale.bar("write" if is_good else "cut", first, finished, row, _("writing")))
    words = [bar.words for bar in bars if bar.words]
    if not words:
        return []
    name = _("attempt %(number)d (%(outcome)s)") % {
        "number": attempt.number,
        "outcome": attempt.get_outcome_display(),
    }
    return [
        TimelineBar(bar.kind, bar.x, bar.width, bar.row, f"{name}: {bar.words}") for bar in bars if bar.words
    ]


@dataclass(frozen=True, slots=True)
class _Scale:
    start: datetime
    per_second: float

    def x(self, moment: datetime) -> float:
        seconds = (moment - self.start).total_seconds()
        return round(min(max(seconds * self.per_second, 0), WIDTH), 1)

    def bar(self, kind: str, begin: datetime, end: datetime, row: int, word: str) -> TimelineBar:
        """Return a bar; without words if it takes no time."""
        took_s = (end - begin).total_seconds()
        x = min(self.x(begin), WIDTH - WIDTH_MIN)
        width = max(self.x(end) - x, WIDTH_MIN)
        return TimelineBar(kind, x, round(width, 1), row, f"{word} {took_s:.2f} s" if took_s > 0.0005 else "")


def _ticks(scale: _Scale, end: datetime) -> list[TimelineTick]:
    total_s = (end - scale.start).total_seconds()
    step_s = next((step for step in _STEPS_S if total_s / step <= 6), _STEPS_S[-1])
    count = min(int(total_s / step_s), 12)
    return [
        TimelineTick(round(number * step_s * scale.per_second, 1), f"{number * step_s:g} s")
        for number in range(count + 1)
    ]


_STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 3600, 36_000)
