"""What operators see of a process, and how their overrides are applied. On its event loop, once a tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from chat.generation.runner import GenerationRunner
from chat.models.process import BreakerOverride
from chat.upstream import UpstreamState

# A row that each process writes every second must stay small; `running` has the full number.
GENERATIONS_SHOWN = 50


def status(runner: GenerationRunner) -> dict[str, Any]:
    """Return the breakers, slots, queues and running generations of this process, as JSON values."""
    running = runner.running()
    return {
        "running": len(running),
        "generations": [
            {"id": each.id, "model": each.model, "since": each.since and each.since.isoformat("T", "seconds")}
            for each in running[:GENERATIONS_SHOWN]
        ],
        "breakers": [asdict(each) for each in runner.upstream_state.breakers()],
        "endpoints": [asdict(each) for each in runner.upstream_state.endpoints()],
    }


def apply_overrides(
    state: UpstreamState, overrides: Iterable[BreakerOverride], applied: dict[int, int]
) -> None:
    """Apply each override whose revision is new; `applied` maps its row to the revision, kept up here."""
    for override in overrides:
        if applied.get(override.pk) == override.revision:
            continue
        act = state.hold_open if override.is_held else state.close
        act(override.endpoint_name, override.model_name)
        applied[override.pk] = override.revision
