"""What one answer says so far. A very long one is kept in its log alone, not in memory."""

from __future__ import annotations

import asyncio
import ctypes
import functools
from collections.abc import Callable
from typing import Any

from chat.event_log import log as delta_log

# The writer and the loop have let go of an answer by then.
GIVE_BACK_AFTER_S = 2.0
# The longest answer that is allowed by default; only sites that allow more read from the log.
KEPT_MAX_CHARS = 1_000_000


class Answer:
    """Text and thinking as they are on the screens, less the prefix that the answer writes on to."""

    def __init__(self, generation_id: int, state: delta_log.ReplayedText) -> None:
        """Take up an answer where its log stands."""
        self._generation_id = generation_id
        self._text: list[str] = [state.text]
        self._thinking: list[str] = [state.thinking]
        self._is_in_memory = True
        # Of the text alone.
        self.chars = len(state.text)
        self._thinking_chars = len(state.thinking)

    def add(self, text: str) -> None:
        """Note a piece of text that was handed to the log."""
        self.chars += len(text)
        self._keep(self._text, text)

    def add_thinking(self, text: str) -> None:
        """Note a piece of thinking that was handed to the log."""
        self._thinking_chars += len(text)
        self._keep(self._thinking, text)

    def _keep(self, pieces: list[str], piece: str) -> None:
        if self._is_in_memory and self.chars + self._thinking_chars > KEPT_MAX_CHARS:
            self._is_in_memory = False
            self._text, self._thinking = [], []
        elif self._is_in_memory:
            pieces.append(piece)

    def begin_anew(self) -> None:
        """Forget it all, as the screens do."""
        self._text, self._thinking = [], []
        self.chars = self._thinking_chars = 0
        self._is_in_memory = True

    async def read(self) -> tuple[str, str]:
        """Return text and thinking; from the log, once it is committed, where they are too long to keep."""
        if self._is_in_memory:
            return "".join(self._text), "".join(self._thinking)
        await delta_log.awrite(lambda: None)
        return await self.committed()

    @property
    def is_long(self) -> bool:
        """Whether it is too long to be kept in memory."""
        return not self._is_in_memory

    def give_back(self) -> None:
        """Return to the system what a very long answer took; glibc would keep it for later."""
        if (trim := _malloc_trim()) is not None:
            asyncio.get_running_loop().call_later(GIVE_BACK_AFTER_S, trim, 0)

    async def committed(self) -> tuple[str, str]:
        """Return text and thinking as the log has them: only what was ever shown."""
        state = await delta_log.astate(self._generation_id)
        return state.text, state.thinking

    async def text(self) -> str:
        """Return the text alone."""
        text, _thinking = await self.read()
        return text


@functools.cache
def _malloc_trim() -> Callable[[int], Any] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
