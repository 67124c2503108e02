"""Notices: small messages to a user's open pages that something changed. They may be lost.

Pages of this process receive a notice directly. With Redis, the channel layer carries it to the other
processes as well. Nothing ever waits for a notice: sending only puts it into a queue. While Redis is away
the pages of other processes learn of changes by polling (see `changes_since`), and every page reads
again what it missed when it reconnects.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from channels.layers import BaseChannelLayer

from chat.models.conversation import Conversation
from chat.models.generation import Generation
from chat.models.redaction import Redaction

logger = logging.getLogger(__name__)

# All processes are members of one group; each passes notices on to its own pages.
GROUP = "processes"
# A Redis that does not accept a notice within this time counts as away.
SEND_TIMEOUT_S = 1.0
# Each process sends itself an echo this often. Without one for ECHO_LOST_S it subscribes again.
ECHO_EVERY_S = 3.0
ECHO_LOST_S = 8.0
RETRY_S = 1.0
# Notices that wait to be sent; further ones are dropped.
QUEUE_MAX = 1000


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """`what` happened to a conversation of `user_id`; see `websocket.frames.Changed` for the words.

    `stop_requested`: a stop was requested for `generation`; its own process ends it at once. `batch`: the
    one that changed, instead of a conversation.
    """

    user_id: int
    conversation: str = ""
    what: str = ""
    generation: int | None = None
    batch: str = ""

    @property
    def is_stop(self) -> bool:
        return self.what == STOP_REQUESTED


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(Notice)

STOP_REQUESTED = "stop_requested"
BATCH = "batch"
type Receiver = Callable[[Notice], None]


class Notifications:
    """Sends and receives the notices of one process. Everything happens on its event loop."""

    def __init__(self, layer: BaseChannelLayer | None = None, *, process_id: str = "") -> None:
        """Use `layer` to reach other processes; None: there are no others."""
        self._layer = layer
        self._process_id = process_id
        self._receivers: dict[int, set[Receiver]] = {}
        self._on_stop: Callable[[int], object] = lambda generation_id: None
        self._outgoing: asyncio.Queue[Notice | None] = asyncio.Queue(QUEUE_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._echoed_at_s = 0.0
        # What is wrong with the channel layer, in words for operators.
        self.problem: str | None = None

    # -- receiving ----------------------------------------------------------------------------------

    def subscribe(self, user_id: int, receiver: Receiver) -> None:
        """Call `receiver` with every notice for a user; it must not block."""
        self._receivers.setdefault(user_id, set()).add(receiver)

    def unsubscribe(self, user_id: int, receiver: Receiver) -> None:
        receivers = self._receivers.get(user_id, set())
        receivers.discard(receiver)
        if not receivers:
            self._receivers.pop(user_id, None)

    def on_stop(self, receiver: Callable[[int], object]) -> None:
        """Call `receiver` with the id of each generation that another process was asked to stop."""
        self._on_stop = receiver

    def subscribers(self) -> set[int]:
        """Return the users that have open pages here."""
        return set(self._receivers)

    def deliver(self, notice: Notice) -> None:
        """Pass a notice on to the pages of this process."""
        if notice.is_stop:
            if notice.generation is not None:
                self._on_stop(notice.generation)
            return
        for receiver in tuple(self._receivers.get(notice.user_id, ())):
            receiver(notice)

    # -- sending ------------------------------------------------------------------------------------

    def changed(
        self, user_id: int, conversation: UUID | str, what: str, *, generation: int | None = None
    ) -> None:
        """Tell a user's pages, in all processes, what happened to a conversation. From any thread."""
        self._send(Notice(user_id=user_id, conversation=str(conversation), what=what, generation=generation))

    def batch_changed(self, user_id: int, batch: UUID) -> None:
        """Tell a user's pages, in all processes, that a batch is further than before. From any thread."""
        self._send(Notice(user_id=user_id, what=BATCH, batch=str(batch)))

    def stop_requested(self, user_id: int, generation: int) -> None:
        """Tell the other processes to stop a generation now instead of at their next tick."""
        self._send(Notice(user_id=user_id, what=STOP_REQUESTED, generation=generation))

    def _send(self, notice: Notice) -> None:
        if self._loop is None:
            return
        with suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(self._deliver_and_queue, notice)

    def _deliver_and_queue(self, notice: Notice) -> None:
        self.deliver(notice)
        if self._layer is not None:
            with suppress(asyncio.QueueFull):
                self._outgoing.put_nowait(notice)

    # -- other processes ----------------------------------------------------------------------------

    def open(self) -> None:
        """Accept notices from now on; on the event loop."""
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Exchange notices with the other processes until cancelled."""
        if self._layer is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_queued(self._layer), name="send notices")
            tasks.create_task(self._echo(), name="echo notices")
            tasks.create_task(self._receive(self._layer), name="receive notices")

    async def _send_queued(self, layer: BaseChannelLayer) -> None:
        while True:
            notice = await self._outgoing.get()
            message = {"type": "notice", "from": self._process_id}
            if notice is not None:
                message["notice"] = msgspec.to_builtins(notice)
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await layer.group_send(GROUP, message)
            except Exception as exc:  # noqa: BLE001 - any failure of the layer means the same here
                self._report(exc)
                while not self._outgoing.empty():  # they would only be late
                    self._outgoing.get_nowait()

    async def _echo(self) -> None:
        while True:
            with suppress(asyncio.QueueFull):
                self._outgoing.put_nowait(None)
            await asyncio.sleep(ECHO_EVERY_S)

    async def _receive(self, layer: BaseChannelLayer) -> None:
        while True:
            try:
                await self._receive_until_lost(layer)
            except Exception as exc:  # noqa: BLE001 - see above
                self._report(exc)
            with suppress(Exception):
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await layer.flush()
            await asyncio.sleep(RETRY_S)

    async def _receive_until_lost(self, layer: BaseChannelLayer) -> None:
        async with asyncio.timeout(ECHO_LOST_S):
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
        self._echoed_at_s = time.monotonic()
        while True:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + self._echoed_at_s + ECHO_LOST_S - time.monotonic()
            ):
                message = await layer.receive(channel)
            self._received(message)

    def _received(self, message: dict[str, Any]) -> None:
        if message.get("from") == self._process_id:
            self._echoed_at_s = time.monotonic()
            self._report(None)
        elif "notice" in message:
            with suppress(msgspec.ValidationError):  # from a process of another version
                self.deliver(msgspec.convert(message["notice"], Notice))

    def _report(self, exc: Exception | None) -> None:
        problem = f"degraded: no notices between processes ({type(exc).__name__})" if exc else None
        if problem and not self.problem:
            logger.warning("The channel layer does not work (%s): pages poll", type(exc).__name__)
        elif self.problem and not problem:
            logger.warning("The channel layer works again")
        self.problem = problem


def changes_since(user_ids: Iterable[int], since: datetime) -> list[Notice]:
    """Return notices of what the database says has changed for these users: polling, without Redis."""
    ids = set(user_ids)
    # What changed just now is read by time, and then by user: one user may have very many rows.
    visible = Conversation.objects.visible().order_by()
    touched = visible.filter(user_id__in=ids, deleted_at=None, updated_at__gt=since)
    deleted = visible.filter(deleted_at__gt=since)
    redacted = visible.filter(pk__in=Redaction.objects.filter(created_at__gt=since).values("conversation"))
    # They still have their logs, by which they are found.
    finished = Generation.objects.filter(
        has_log=True, finished_at__gt=since, message__conversation__is_hidden=False
    ).order_by()
    changes = [
        Notice(user_id=user_id, conversation=str(pk), what=what)
        for what, found in (("started", touched), ("deleted", deleted), ("redacted", redacted))
        for user_id, pk in found.values_list("user_id", "pk")
    ] + [
        Notice(user_id=user_id, conversation=str(conversation), what="finished", generation=pk)
        for user_id, conversation, pk in finished.values_list("user_id", "message__conversation_id", "pk")
    ]
    return [notice for notice in changes if notice.user_id in ids]
