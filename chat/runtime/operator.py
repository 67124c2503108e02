"""What operators see of this process, and what they tell it. Both on its event loop, once a tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from chat.generation import runner as generations
from chat.models.process import BreakerOverride

# A row that each process writes each second stays small; the count says how many there are in all.
GENERATIONS_SHOWN = 50


def status() -> dict[str, Any]:
    """Return the breakers, slots, lines and running generations of this process, as JSON has them."""
    ladder = generations.ladder()
    running = generations.running()
    return {
        "running": len(running),
        "generations": [
            {"id": each.id, "model": each.model, "since": each.since and each.since.isoformat("T", "seconds")}
            for each in running[:GENERATIONS_SHOWN]
        ],
        "breakers": [asdict(each) for each in ladder.breakers()],
        "endpoints": [asdict(each) for each in ladder.endpoints()],
    }


def obey(overrides: Iterable[BreakerOverride], obeyed: dict[int, int]) -> None:
    """Apply each override whose revision was not applied yet; `obeyed`: row -> revision, kept up here."""
    ladder = generations.ladder()
    for override in overrides:
        if obeyed.get(override.pk) == override.revision:
            continue
        act = ladder.hold_open if override.is_held else ladder.close
        act(override.endpoint_name, override.model_name)
        obeyed[override.pk] = override.revision
