"""One question on its way: asked, read, and stopped when somebody says so or its time is up."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from django.contrib.auth.models import AbstractUser

from chat import events
from chat.generation.start import start_here, stop
from chat.management.ask.output import Reader
from chat.management.ask.process import runtime_for
from chat.management.exits import Exit, exit_of
from chat.models.api_request import ApiRequest
from chat.models.catalog import Model
from chat.models.conversation import Conversation
from chat.models.generation import Generation
from chat.runtime.process import Runtime

SIGNALS = {signal.SIGINT: Exit.CTRL_C, signal.SIGTERM: Exit.TERMINATED}


@dataclass(frozen=True, slots=True)
class End:
    """How it ended; `is_late`: because its time was up."""

    generation_id: int
    last: events.Terminal | events.Snapshot
    exit: Exit
    is_late: bool


class Asked:
    """Ask `request` of `model` in the name of `user`, and give it `timeout_s` in all."""

    def __init__(
        self, user: AbstractUser, model: Model, request: ApiRequest, timeout_s: float, reader: Reader
    ) -> None:
        """On no loop yet."""
        self.reader = reader
        self.timeout_s = timeout_s
        self._user = user
        self._model = model
        self._request = request
        self._is_told = asyncio.Event()
        # How the command exits because it was stopped from here.
        self._stopped_as: Exit | None = None
        self._is_late = False
        reader.on_broken = partial(self._stop, Exit.PIPE_CLOSED)

    async def to_its_end(self) -> End:
        """Ask, and read until the last event. Raises RequestRefused, DatabaseError."""
        with self._signals():
            async with runtime_for(self._model) as runtime:
                return await self._ask(runtime)

    async def _ask(self, runtime: Runtime) -> End:
        if self._model.endpoint.is_embedded:
            self.reader.tell("Starting the demo model, for this question alone …")
        accepted, run = await start_here(
            runtime.runner,
            self._user,
            lambda: Conversation.ask_once(
                self._user,
                self._request,
                model=self._model,
                client_id=f"ask-{uuid4().hex}",
                source=Generation.Source.COMMAND,
            ),
        )
        stopper = asyncio.create_task(self._stop_when_told(runtime, accepted.generation_id), name="stopper")
        try:
            last = await self.reader.read(runtime.log, accepted.generation_id)
            await run
        finally:
            stopper.cancel()
        return End(accepted.generation_id, last, self._exit(last), self._is_late)

    def _exit(self, last: events.Terminal | events.Snapshot) -> Exit:
        is_stopped = isinstance(last, events.Stopped)
        if is_stopped and self._is_late:
            return Exit.INTERRUPTED if self.reader.text else Exit.UNAVAILABLE
        if is_stopped and self._stopped_as is not None:
            return self._stopped_as
        return exit_of(last)

    async def _stop_when_told(self, runtime: Runtime, generation_id: int) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._is_told.wait()
        except TimeoutError:
            self._is_late = True
        await stop(runtime.runner, self._user, generation_id)

    def _stop(self, code: Exit) -> None:
        if self._stopped_as is not None:  # said twice: at once
            os._exit(code)
        self._stopped_as = code
        self._is_told.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number, code in SIGNALS.items():
            loop.add_signal_handler(number, self._stop, code)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
