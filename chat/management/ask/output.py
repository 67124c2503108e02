"""Reading an answer as it is written: its text on one stream, what happens to it on another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.core.management.base import OutputWrapper

from chat import events
from chat.event_log.log import EventLog

RULE = "-" * 40
# A model's text must not move a terminal's cursor, set its title or write to its clipboard.
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class Reader:
    """Follow one generation; print its text as it comes (`is_streaming`) or leave it to the caller.

    `tell` hears what people may want to know, `warn` what they must. `is_broken` says that whoever read
    `out` has left; nothing is printed after that.
    """

    def __init__(
        self,
        out: OutputWrapper,
        *,
        is_streaming: bool,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._out = out
        self._is_streaming = is_streaming
        self.tell = tell
        self.warn = warn
        self._text: list[str] = []
        self._is_at_line_start = True
        self._has_thought = False
        self.is_broken = False
        # Called once, when it breaks.
        self.on_broken: Callable[[], None] = lambda: None

    @property
    def text(self) -> str:
        return "".join(self._text)

    async def read(self, log: EventLog, generation_id: int) -> events.Terminal | events.Snapshot:
        """Follow to the end and return how it ended."""
        async for rows in log.follow(generation_id, is_about_to_start=True):
            for row in rows:
                event = events.decode(row.payload)
                await self._take(event)
                if isinstance(event, events.TERMINAL):
                    return event
        raise RuntimeError("the conversation was deleted meanwhile")

    async def _take(self, event: events.Event) -> None:
        match event:
            case events.Delta(text):
                self._text.append(text)
                if self._is_streaming:
                    await self.print(text)
            case events.Restarted():
                await self._begin_anew()
            case events.Snapshot(text=text):
                self._text = [text]
            case events.Thinking() if not self._has_thought:
                self._has_thought = True
                self.tell("The model is thinking …")
            case events.Queued(position):
                self.tell(f"Waiting for a slot, {position} in line." if position else "Waiting for a slot.")
            case events.Retrying():
                self.tell(f"{event.message} Call {event.attempt} of {event.of} in {event.wait_s:.1f} s.")
            case events.Switched() | events.Continued():
                self.tell(event.message)

    async def _begin_anew(self) -> None:
        if self._is_streaming and self._text:
            await self.end_line()
            self.warn(
                "The answer was cut, and the model began anew. What is above the line no longer counts."
            )
            await self.print(f"{RULE}\n")
        self._text = []

    async def print(self, text: str) -> None:
        """Write text out, off the event loop: a reader that is slow must not stop the heartbeat."""
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
        """Leave the cursor at the start of a line."""
        if not self._is_at_line_start:
            await self.print("\n")
