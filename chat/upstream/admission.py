"""Admission control for an endpoint: concurrent calls up to a limit, and a queue.

`queue.py` decides which call is next. A 429 with a Retry-After for a whole account pauses the endpoint: all
calls wait in one queue instead of retrying separately. One for a model pauses only that, see `state.py`.

Where several processes call the endpoint, each has its own queue. With shared slots a process acquires a
slot from the shared count before it starts a call. Without them, or while they are unavailable, it uses its
share of the slots.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from contextlib import suppress

from chat.upstream import errors
from chat.upstream.queue import INTERACTIVE_SHARE, PRIORITIES, FairQueue, QueuePriority, program_slots
from chat.upstream.shared_slots import Counts, SharedSlots, SharedSlotsUnavailable

# Bounds of the Retry-After that a full queue gives.
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1.0, 60.0
# An endpoint cannot pause itself for longer: a larger number may be meant in another unit.
PAUSE_MAX_S = 900.0
# The weight of one more call in the moving average of how long a slot is held.
AVERAGE_WEIGHT = 0.1
# How often the shared count is polled while calls wait: a slot that another process frees stays idle for
# half of this on average.
POLL_INTERVAL_S = 0.05
# How often running calls are reported to the shared count while none waits.
REPORT_INTERVAL_S = 1.0
# How long to wait after the shared count was unavailable.
RECONNECT_INTERVAL_S = 1.0


class Ticket:
    """The queue position of one call and, once granted, its slot.

    The holder must always call `release`.
    """

    def __init__(self, admission: Admission, priority: QueuePriority, user: Hashable) -> None:
        self.priority = priority
        self.user = user
        self.granted_at_s: float | None = None
        self._admission = admission
        self._granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_granted(self) -> bool:
        return self.granted_at_s is not None

    @property
    def position(self) -> int:
        """The position in the queue, from 1; 0 once the slot is granted."""
        return self._admission.position(self)

    async def wait_for_change(self, *, poll_interval_s: float) -> int:
        """Wait for the slot or for a changed position, and return the position.

        A grant is seen at once. A changed position is polled: people read no faster than once a second,
        and five hundred waiting tasks must not wake up whenever one of them leaves the queue.
        Raises RateLimited if the endpoint pauses for longer than this call may wait.
        """
        before = self.position
        while self.position == before and not self._granted.done():
            await asyncio.wait({self._granted}, timeout=poll_interval_s)
        if self._granted.done():
            self._granted.result()
        return self.position

    def release(self) -> None:
        """Give back the slot or leave the queue. May be called more than once."""
        self._admission.release(self)

    def grant(self, now_s: float) -> None:
        self.granted_at_s = now_s
        if not self._granted.done():
            self._granted.set_result(None)

    def reject(self, error: errors.UpstreamError) -> None:
        if not self._granted.done():
            self._granted.set_exception(error)
            # Mark it as retrieved: a ticket that is released without waiting never reads it.
            self._granted.exception()


# Calls that may wait for one endpoint. With 32 slots and answers of ten seconds, the last one waits about
# two and a half minutes; a user who would wait longer is better refused at once.
WAITING_MAX = 500


class Admission:
    """The slots of an endpoint and the queue for them.

    `waiting_max`: a call is refused when this many of its own or a more urgent priority wait already, so a
    queue full of bulk does not keep interactive calls out. `pause_max_s`: calls do not wait for a pause that
    is longer; they are refused with its length. `interactive_share`: the share of the slots that API and
    bulk calls leave free. `shared`: the slots of `endpoint` over all processes.
    """

    def __init__(
        self,
        slots: int = 32,
        *,
        waiting_max: int = WAITING_MAX,
        pause_max_s: float = 60.0,
        interactive_share: float = INTERACTIVE_SHARE,
        clock: Callable[[], float] = time.monotonic,
        endpoint: str = "",
        shared: SharedSlots | None = None,
    ) -> None:
        self._slots = slots
        self._waiting_max = waiting_max
        self._pause_max_s = pause_max_s
        self._interactive_share = interactive_share
        self._clock = clock
        self._running: set[Ticket] = set()
        self._running_by_priority = dict.fromkeys(PRIORITIES, 0)
        self._queue: FairQueue[Ticket] = FairQueue()
        self._paused_until_s = 0.0
        self._pause_timer: asyncio.TimerHandle | None = None
        self._average_held_s = 1.0
        self._processes = 1
        self._endpoint = endpoint
        self._shared = shared
        self._is_shared = shared is not None
        self._in_use: int | None = None
        self._has_changed = asyncio.Event()
        self._sync_task: asyncio.Task[None] | None = None

    # -- the current state ---------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        return self._slots

    @slots.setter
    def slots(self, slots: int) -> None:
        """Change the number of slots; calls that already run are not affected."""
        if slots != self._slots:
            self._slots = slots
            self._advance()

    @property
    def processes(self) -> int:
        """How many processes call this endpoint."""
        return self._processes

    @processes.setter
    def processes(self, processes: int) -> None:
        if processes != self._processes:
            self._processes = processes
            self._advance()

    @property
    def limit(self) -> int:
        """How many calls may run in this process: all slots if shared, else its share."""
        return self._slots if self._is_shared else max(1, self._slots // self._processes)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether no call runs or waits."""
        return not self._running and not self._queue

    @property
    def in_use(self) -> int | None:
        """How many calls run in all processes; None if that is not known."""
        return self._in_use if self._is_shared else None

    @property
    def paused_s(self) -> float:
        """For how much longer no call may start."""
        return max(0.0, self._paused_until_s - self._clock())

    def waiting(self, priority: QueuePriority) -> int:
        return self._queue.count(priority)

    def position(self, ticket: Ticket) -> int:
        return self._queue.position(ticket)

    # -- entering and leaving ------------------------------------------------------------------------

    def enter(self, priority: QueuePriority, user: Hashable = None) -> Ticket:
        """Return a ticket, granted at once if a slot is free.

        Raises QueueFull, RateLimited.
        """
        if self.paused_s > self._pause_max_s:
            raise self._pause_error()
        ahead = self._queue.count_ahead(priority)
        ticket = Ticket(self, priority, user)
        self._queue.add(ticket)
        self._advance()
        # With shared slots, calls that are about to be granted wait for a moment, too.
        about_to_start = max(0, self._slots - self.running) if self._is_shared else 0
        if ahead - about_to_start >= self._waiting_max and not ticket.is_granted:
            self.release(ticket)
            raise errors.QueueFull(f"{ahead} calls are waiting", retry_after_s=self._retry_after_s(ahead))
        return ticket

    def release(self, ticket: Ticket) -> None:
        if ticket in self._running:
            self._running.remove(ticket)
            self._running_by_priority[ticket.priority] -= 1
            held_s = self._clock() - (ticket.granted_at_s or 0.0)
            self._average_held_s += AVERAGE_WEIGHT * (held_s - self._average_held_s)
        else:
            self._queue.remove(ticket)
        self._advance()

    def pause(self, for_s: float) -> None:
        """Start no calls for so long. A pause that ends later stays as it is."""
        self._paused_until_s = max(self._paused_until_s, self._clock() + min(for_s, PAUSE_MAX_S))
        if self.paused_s > self._pause_max_s:
            for ticket in list(self._queue):
                self._queue.remove(ticket)
                ticket.reject(self._pause_error())
        self._advance()

    def _pause_error(self) -> errors.RateLimited:
        return errors.RateLimited("paused after a 429", retry_after_s=self.paused_s)

    def _retry_after_s(self, waiting: int) -> float:
        """Estimate when a tenth of the queue will have been served."""
        estimate_s = self._average_held_s * waiting / 10 / max(self._slots, 1)
        return min(max(estimate_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)

    # -- granting slots ------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Grant the free slots. Called after every change."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None
        if self.paused_s and self._queue:
            self._pause_timer = asyncio.get_running_loop().call_later(self.paused_s, self._advance)
        self._notify_sync()
        if not self._is_shared and not self.paused_s:
            self._grant_own_slots()

    def _grant_own_slots(self) -> None:
        while len(self._running) < self.limit:
            _interactive, api, bulk = self._running_counts()
            ticket = self._queue.pop(
                slots=self.limit,
                is_bulk_running=bulk > 0,
                has_program_slot=api + bulk < program_slots(self.limit, self._interactive_share),
            )
            if ticket is None:
                return
            self._start(ticket)

    def _start(self, ticket: Ticket) -> None:
        self._running.add(ticket)
        self._running_by_priority[ticket.priority] += 1
        ticket.grant(self._clock())

    # -- slots shared with other processes -----------------------------------------------------------

    def _notify_sync(self) -> None:
        """Wake the task that syncs with the shared count; start it if it does not run."""
        self._has_changed.set()
        if self._shared is not None and self._sync_task is None:
            self._sync_task = asyncio.create_task(self._sync_shared(self._shared), name="shared slots")

    async def _sync_shared(self, shared: SharedSlots) -> None:
        """Report to the shared count and acquire slots, until no call runs or waits."""
        try:
            while self._has_changed.is_set() or not self.is_idle:
                self._has_changed.clear()
                try:
                    grant = await shared.acquire(
                        self._endpoint,
                        self._slots,
                        program_slots(self._slots, self._interactive_share),
                        self._running_counts(),
                        self._waiting_counts(),
                    )
                except SharedSlotsUnavailable:
                    self._is_shared = False
                    self._advance()
                    await asyncio.sleep(RECONNECT_INTERVAL_S)
                    continue
                self._is_shared, self._in_use = True, grant.in_use
                self._start_granted(grant.granted)
                has_waiting = any(self._waiting_counts())
                await self._wait_for_change(POLL_INTERVAL_S if has_waiting else REPORT_INTERVAL_S)
        finally:
            self._sync_task = None

    async def _wait_for_change(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._has_changed.wait()

    def _start_granted(self, granted: Counts) -> None:
        for priority, count in zip(PRIORITIES, granted, strict=True):
            for _ in range(count):
                ticket = None if self.paused_s else self._queue.pop_first(priority)
                if ticket is None:
                    self._has_changed.set()  # report again at once, which gives the slot back
                else:
                    self._start(ticket)

    def _running_counts(self) -> Counts:
        return tuple(self._running_by_priority.values())

    def _waiting_counts(self) -> Counts:
        return tuple(0 if self.paused_s else self.waiting(priority) for priority in PRIORITIES)
