"""The text of one running answer, in memory. A very long answer is read from its log instead."""

from __future__ import annotations

import asyncio
import ctypes
import functools
from collections.abc import Callable
from typing import Any

from chat.event_log.read import ReplayedText, areplay
from chat.event_log.writer import Writer

# By then the writer and the event loop have released the answer.
RELEASE_AFTER_S = 2.0
# The longest answer that is allowed by default; only sites that allow more read from the log.
KEPT_MAX_CHARS = 1_000_000


class TextBuffer:
    """Text and thinking of an answer as its readers see them, without the prefix that it continues."""

    def __init__(
        self,
        generation_id: int,
        replayed: ReplayedText,
        writer: Writer,
        *,
        kept_max_chars: int = KEPT_MAX_CHARS,
    ) -> None:
        """Start with the text of the log."""
        self._generation_id = generation_id
        self._writer = writer
        self._kept_max_chars = kept_max_chars
        self._text: list[str] = [replayed.text]
        self._thinking: list[str] = [replayed.thinking]
        self._is_in_memory = True
        # Of the text alone.
        self.chars = len(replayed.text)
        self._thinking_chars = len(replayed.thinking)

    def add(self, text: str) -> None:
        """Add a piece of text that was appended to the log."""
        self.chars += len(text)
        self._keep(self._text, text)

    def add_thinking(self, text: str) -> None:
        """Add a piece of thinking that was appended to the log."""
        self._thinking_chars += len(text)
        self._keep(self._thinking, text)

    def _keep(self, pieces: list[str], piece: str) -> None:
        if self._is_in_memory and self.chars + self._thinking_chars > self._kept_max_chars:
            self._is_in_memory = False
            self._text, self._thinking = [], []
        elif self._is_in_memory:
            pieces.append(piece)

    def reset(self) -> None:
        """Remove all text: the answer restarts."""
        self._text, self._thinking = [], []
        self.chars = self._thinking_chars = 0
        self._is_in_memory = True

    @property
    def is_long(self) -> bool:
        """Whether the answer is too long to be kept in memory."""
        return not self._is_in_memory

    async def read(self) -> tuple[str, str]:
        """Return text and thinking; a long answer's from its log, once that is committed."""
        if self._is_in_memory:
            return "".join(self._text), "".join(self._thinking)
        await self._writer.arun(lambda: None)
        return await self.committed()

    async def committed(self) -> tuple[str, str]:
        """Return text and thinking from the log: only what a reader can have seen."""
        replayed = await areplay(self._generation_id)
        return replayed.text, replayed.thinking

    async def text(self) -> str:
        """Return the text alone."""
        text, _thinking = await self.read()
        return text


def release_memory_soon() -> None:
    """Return freed memory to the operating system; after a very long answer glibc would keep it."""
    if (trim := _malloc_trim()) is not None:
        asyncio.get_running_loop().call_later(RELEASE_AFTER_S, trim, 0)


@functools.cache
def _malloc_trim() -> Callable[[int], Any] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
