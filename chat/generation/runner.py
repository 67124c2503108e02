"""The life of one answer: claimed, run, stopped, handed over. No door waits for it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from chat import upstream
from chat.event_log import log as delta_log
from chat.generation import routing as route
from chat.generation.run import Run, Running, claim
from chat.models.catalog import Model
from chat.models.generation import Generation
from chat.models.process import PROCESS_ID

logger = logging.getLogger(__name__)

_running: dict[int, Run] = {}
# Claims that wait for the writer; in a rush the heartbeat finds their rows unclaimed and would begin again.
_claiming: set[int] = set()
_is_draining = False
_has_drained = False
_client = upstream.Client()
# The breakers, slots and lines of this process.
_ladder = route.new_ladder()


def prepare() -> None:
    """Load what the first answer would otherwise wait for."""
    _client.prepare()


def running() -> list[Running]:
    """Return what runs in this process, in the order it was taken up; to be used on its event loop."""
    return [each.as_running() for each in _running.values()]


async def run(generation_id: int, *, from_owner: str = "") -> None:
    """Claim a generation and run it to its end; does nothing if it is not to be had.

    `from_owner`: the process, found dead, to take it over from; empty: it waits for anybody.
    """
    if _is_draining:
        return  # its row waits for another process, or for the next start
    if generation_id in _claiming:
        return
    _claiming.add(generation_id)
    try:
        claimed = await delta_log.awrite(partial(claim, generation_id, from_owner))
    finally:
        _claiming.discard(generation_id)
    if claimed is None:
        delta_log.wake(generation_id)
        return
    mine = _running[generation_id] = Run(claimed, _client, _ladder)
    try:
        await mine.to_its_end()
    finally:
        if _running.get(generation_id) is mine:
            del _running[generation_id]


def ladder() -> upstream.UpstreamState:
    """Return the breakers, slots and lines of this process; to be used on its event loop."""
    return _ladder


def is_draining() -> bool:
    """Say whether this process is on its way out."""
    return _is_draining


def has_drained() -> bool:
    """Say whether the drain is over: answers go on elsewhere, or at the next start."""
    return _has_drained


def stop_here(generation_id: int) -> bool:
    """Stop a generation if it runs in this process; the row says already that it was asked for."""
    found = _running.get(generation_id)
    if found is not None:
        found.stop()
    return found is not None


async def drain(timeout_s: float) -> None:
    """Let running answers go on for `timeout_s`, then hand the rest over to whoever claims them next.

    No answer begins here any more. Those that can be written on go first: the others would begin again,
    and may still end meanwhile.
    """
    global _is_draining, _has_drained
    _is_draining = True
    tasks = [found.task for found in _running.values() if found.task is not None]
    if tasks:
        logger.info("waiting up to %g s for %d running answers", timeout_s, len(tasks))
        _done, late = await asyncio.wait(tasks, timeout=timeout_s)
        if late:
            continuing = await delta_log.awrite(_continuing)
            await _hand_over({id_ for id_ in _running if id_ in continuing})
            await _hand_over(set(_running))
    await _client.close()
    _has_drained = True


def _continuing() -> set[int]:
    """Return those of this process's generations that their next owner writes on; others it must restart."""
    mine = Generation.objects.active().filter(owner=PROCESS_ID)
    return set(mine.exclude(model__continuation=Model.Continuation.NONE).values_list("pk", flat=True))


async def _hand_over(generation_ids: set[int]) -> None:
    """End these runs here, and put their rows back for others once all of their text is in the log."""
    tasks = [found.task for id_ in generation_ids if (found := _running[id_]).task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await delta_log.awrite(partial(_release, generation_ids))


def _release(generation_ids: set[int]) -> None:
    mine = Generation.objects.active().filter(pk__in=generation_ids, owner=PROCESS_ID)
    mine.update(owner="", status=Generation.Status.QUEUED)
