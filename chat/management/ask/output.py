"""The output of an answer in progress: its text on stdout, messages about its progress on stderr."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.core.management.base import OutputWrapper

from chat import events
from chat.event_log.log import EventLog

SEPARATOR = "-" * 40
# The text of a model must not move a terminal's cursor, set its title or write to its clipboard.
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class AnswerPrinter:
    """Follows one generation and prints its text: at once if `is_streaming`, else when the caller does.

    `report` receives messages about the progress, `warn` those that concern text already printed.
    `is_broken`: the reader of `out` has closed the pipe; nothing is printed after that.
    """

    def __init__(
        self,
        out: OutputWrapper,
        *,
        is_streaming: bool,
        report: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._out = out
        self._is_streaming = is_streaming
        self.report = report
        self._warn = warn
        self._text: list[str] = []
        self._is_at_line_start = True
        self._has_reported_thinking = False
        self.is_broken = False
        # Called once, when the pipe is closed.
        self.on_broken: Callable[[], None] = lambda: None

    @property
    def text(self) -> str:
        return "".join(self._text)

    async def follow(self, log: EventLog, generation_id: int) -> events.Terminal | events.Snapshot:
        """Follow a generation until its last event, and return that."""
        async for rows in log.follow(generation_id, is_about_to_start=True):
            for row in rows:
                event = events.decode(row.payload)
                await self._handle(event)
                if isinstance(event, events.TERMINAL):
                    return event
        raise RuntimeError("the conversation was deleted")

    async def _handle(self, event: events.Event) -> None:
        match event:
            case events.Delta(text):
                self._text.append(text)
                if self._is_streaming:
                    await self.print(text)
            case events.Restarted(reason):
                await self._restart(reason)
            case events.Snapshot(text=text):
                self._text = [text]
            case events.Thinking() if not self._has_reported_thinking:
                self._has_reported_thinking = True
                self.report("The model is thinking…")
            case events.Image(problem=problem):
                self._warn(
                    problem or f"The answer has a picture: /attachments/{event.attachment}/ on the site."
                )
            case events.Queued(position):
                self.report(f"Queued, position {position}." if position else "Queued.")
            case events.Retrying():
                self.report(f"{event.message} Attempt {event.attempt} of {event.of} in {event.wait_s:.1f} s.")
            case events.Switched() | events.Continued():
                self.report(event.message)

    async def _restart(self, reason: str) -> None:
        if self._is_streaming and self._text:
            await self.end_line()
            if reason == events.BECAME_REASONING:
                self._warn("The text above this line is the model's reasoning. The answer follows.")
            else:
                self._warn("The answer was interrupted and is being generated again. Ignore the text above.")
            await self.print(f"{SEPARATOR}\n")
        self._text = []

    async def print(self, text: str) -> None:
        """Write text to `out`, off the event loop: a slow reader must not delay the heartbeat."""
        if self.is_broken or not text:
            return
        if self._out.isatty():
            text = text.translate(_CONTROLS)
        try:
            await asyncio.to_thread(self._write, text)
        except BrokenPipeError:
            self.is_broken = True
            self.on_broken()

    def _write(self, text: str) -> None:
        self._out.write(text, ending="")
        self._out.flush()
        self._is_at_line_start = text.endswith("\n") if text else self._is_at_line_start

    async def end_line(self) -> None:
        """Print a line break unless the output is at the start of a line."""
        if not self._is_at_line_start:
            await self.print("\n")
