"""Run generations in this process: start, stop and hand over. No entry point waits for a run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from chat import upstream
from chat.background import BackgroundTasks
from chat.event_log.log import EventLog
from chat.generation import titles
from chat.generation.attempts import RunningGeneration
from chat.generation.claim import Claimed, claim
from chat.generation.concurrency import ConcurrencyGate
from chat.generation.images import KeepImage
from chat.generation.run import Run
from chat.local_model.supervisor import LocalModel
from chat.models.budget_use import BudgetExceeded
from chat.models.catalog import Model
from chat.models.generation import Generation
from chat.notifications import Notifications

logger = logging.getLogger(__name__)


class GenerationRunner:
    """The generations that run in one process. Belongs to its event loop."""

    def __init__(
        self,
        process_id: str,
        *,
        log: EventLog,
        client: upstream.Client,
        upstream_state: upstream.UpstreamState,
        notifications: Notifications,
        background: BackgroundTasks,
        keep_image: KeepImage,
        local_model: LocalModel | None = None,
    ) -> None:
        """`process_id`: the owner in claimed rows. `local_model`: the embedded model, if it runs here."""
        self.process_id = process_id
        self.log = log
        self.client = client
        self.upstream_state = upstream_state
        self.notifications = notifications
        self.local_model = local_model
        # Closed until the process runs: then its rows wait for a server.
        self.is_open = False
        self.is_draining = False
        self.has_drained = False
        self.background = background
        self.keep_image = keep_image
        self.gate = ConcurrencyGate(lambda: upstream_state.processes)
        # What `start` and `run_claimed` began: runs, and claims that come before them.
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[int, Run] = {}
        # Claims that wait for the writer. Meanwhile the heartbeat still finds their rows unclaimed.
        self._starting: set[int] = set()
        # Users whose bulk must wait until other answers release what they hold of a budget.
        self.without_room: set[int] = set()

    def open(self) -> None:
        """Accept generations from now on."""
        self.is_open = True

    @property
    def is_accepting(self) -> bool:
        """Whether generations may start here."""
        return self.is_open and not self.is_draining

    def running(self) -> list[RunningGeneration]:
        """Return the generations that run here, in the order in which they started."""
        return [run.as_running() for run in self._running.values()]

    def start(self, generation_id: int, *, from_owner: str = "") -> asyncio.Task[None] | None:
        """Claim a generation and run it to its end, in a task of its own.

        `from_owner`: the dead process that owned it; empty: it has no owner. Return the task; None if
        the generation is being claimed already, or if this process is not running or draining: its row
        then waits for another process, or for the next start.
        """
        if not self.is_accepting or generation_id in self._starting:
            return None
        self._starting.add(generation_id)
        task = self._begin(generation_id, self._run(generation_id, from_owner))
        if task is None:
            self._starting.discard(generation_id)
        return task

    def _begin(self, generation_id: int, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run `work` as a task that a drain waits for; return None if the process is stopping."""
        task = self.background.start(work, f"generation {generation_id}")
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    async def run_claimed(self, claimed: Claimed) -> asyncio.Task[None] | None:
        """Run a generation that this process owns. Return the task, or None if the process began to drain.

        Its row then waits for another process.
        """
        generation_id = claimed.generation.pk
        task = self._begin(generation_id, self._run_to_end(claimed)) if self.is_accepting else None
        if task is None:
            await self.log.writer.arun(partial(self._release, {generation_id}))
        return task

    async def _run(self, generation_id: int, from_owner: str) -> None:
        try:
            claimed = await self.log.writer.arun(partial(self._claim, generation_id, from_owner))
        except BudgetExceeded:
            return  # bulk, which stays in the queue
        finally:
            self._starting.discard(generation_id)
        if claimed is None:
            self.log.topics.wake(generation_id)
            return
        if self.is_draining:  # since this claim was requested
            await self.log.writer.arun(partial(self._release, {generation_id}))
            return
        await self._run_to_end(claimed)

    def _claim(self, generation_id: int, from_owner: str) -> Claimed | None:
        """Claim a generation, unless it is bulk of a user who has no room in a budget now."""
        if self.without_room:
            bulk = Generation.objects.filter(pk=generation_id, source=Generation.Source.BATCH)
            if bulk.filter(user_id__in=self.without_room).exists():
                return None
        try:
            return claim(generation_id, self.process_id, from_owner)
        except BudgetExceeded as exc:
            if exc.user_id is not None:
                self.without_room.add(exc.user_id)
            raise

    async def _run_to_end(self, claimed: Claimed) -> None:
        generation_id = claimed.generation.pk
        run = Run(
            claimed,
            log=self.log,
            client=self.client,
            upstream_state=self.upstream_state,
            notifications=self.notifications,
            local_model=self.local_model,
            gate=self.gate,
            keep_image=self.keep_image,
        )
        self._running[generation_id] = run
        try:
            await run.run()
        finally:
            self.without_room.clear()
            if self._running.get(generation_id) is run:
                del self._running[generation_id]
        generation, is_first = claimed.generation, claimed.is_first_question
        following = await titles.follow_up(self.log.writer, self.notifications, generation, is_first=is_first)
        if following is not None:
            self.start(following)

    def stop(self, generation_id: int) -> bool:
        """Stop a generation if it runs here; its row already says that this was requested."""
        run = self._running.get(generation_id)
        if run is not None:
            run.stop()
        return run is not None

    async def drain(self, timeout_s: float) -> None:
        """Let running generations go on for `timeout_s`, then hand the rest over.

        No generation starts here any more. Those that their next owner can continue are handed over
        first: the others would restart, and may still finish meanwhile.
        """
        self.is_draining = True
        if self._tasks:
            logger.info("waiting up to %g s for %d running answers", timeout_s, len(self._tasks))
            _done, late = await asyncio.wait(set(self._tasks), timeout=timeout_s)
            if late:
                continuable = await self.log.writer.arun(self._continuable)
                await self._hand_over({pk for pk in self._running if pk in continuable})
                await self._hand_over(set(self._running))
        await self.client.close()
        self.has_drained = True

    def _continuable(self) -> set[int]:
        """Return this process's generations that their next owner continues; it must restart the others."""
        own = Generation.objects.active().filter(owner=self.process_id)
        return set(own.exclude(model__continuation=Model.Continuation.NONE).values_list("pk", flat=True))

    async def _hand_over(self, generation_ids: set[int]) -> None:
        """End these runs here; free their rows for other processes once all of their text is in the log."""
        tasks = [run.task for pk in generation_ids if (run := self._running[pk]).task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.log.writer.arun(partial(self._release, generation_ids))

    def _release(self, generation_ids: set[int]) -> None:
        own = Generation.objects.active().filter(pk__in=generation_ids, owner=self.process_id)
        own.update(owner="", status=Generation.Status.QUEUED)
