"""One question of a command: it is stored, run and printed, and stopped by a signal or a timeout."""

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
from chat.management.ask.output import AnswerPrinter
from chat.management.ask.process import runtime_for
from chat.management.exits import Exit, exit_of
from chat.models.api_request import ApiRequest
from chat.models.catalog import Model
from chat.models.conversation import Conversation
from chat.models.generation import Generation, StartedGeneration
from chat.runtime.process import Runtime

SIGNALS = {signal.SIGINT: Exit.CTRL_C, signal.SIGTERM: Exit.TERMINATED}


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """How the answer ended. `is_timed_out`: the timeout stopped it."""

    generation_id: int
    last: events.Terminal | events.Snapshot
    exit: Exit
    is_timed_out: bool


class Question:
    """A request to `model` as `user`. Its answer is stopped after `timeout_s`, time in queue included."""

    def __init__(
        self, user: AbstractUser, model: Model, request: ApiRequest, timeout_s: float, printer: AnswerPrinter
    ) -> None:
        self.printer = printer
        self.timeout_s = timeout_s
        self._user = user
        self._model = model
        self._request = request
        self._stop_requested = asyncio.Event()
        # The exit code if a signal or a closed pipe stopped the answer.
        self._stop_exit: Exit | None = None
        self._is_timed_out = False
        printer.on_broken = partial(self._stop, Exit.PIPE_CLOSED)

    async def run(self) -> QuestionResult:
        """Run to the last event. Raises RequestRefused, DatabaseError."""
        with self._signals():
            async with runtime_for(self._model) as runtime:
                return await self._run(runtime)

    async def _run(self, runtime: Runtime) -> QuestionResult:
        if self._model.endpoint.is_embedded:
            self.printer.report("Starting the demo model for this question…")
        started, run = await start_here(runtime.runner, self._user, self._store)
        stopper = asyncio.create_task(self._stop_on_request(runtime, started.generation_id), name="stopper")
        try:
            last = await self.printer.follow(runtime.log, started.generation_id)
            if run is not None:
                await run
        finally:
            stopper.cancel()
        return QuestionResult(started.generation_id, last, self._exit(last), self._is_timed_out)

    def _store(self) -> StartedGeneration:
        return Conversation.ask_once(
            self._user,
            self._request,
            model=self._model,
            client_id=f"ask-{uuid4().hex}",
            source=Generation.Source.COMMAND,
        )

    def _exit(self, last: events.Terminal | events.Snapshot) -> Exit:
        is_stopped = isinstance(last, events.Stopped)
        if is_stopped and self._is_timed_out:
            return Exit.INTERRUPTED if self.printer.text else Exit.UNAVAILABLE
        if is_stopped and self._stop_exit is not None:
            return self._stop_exit
        return exit_of(last)

    async def _stop_on_request(self, runtime: Runtime, generation_id: int) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._stop_requested.wait()
        except TimeoutError:
            self._is_timed_out = True
        await stop(runtime.runner, self._user, generation_id)

    def _stop(self, code: Exit) -> None:
        if self._stop_exit is not None:  # the second signal: exit immediately
            os._exit(code)
        self._stop_exit = code
        self._stop_requested.set()

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
