"""Store the text of a very long answer in slices, read from its log page by page.

The slices come before the end, each in a transaction of its own, so that neither the server nor the writer
ever holds the whole text. The transaction of the end refers to them (`models/long_text.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from channels.db import database_sync_to_async

from chat import events, rendering
from chat.event_log.lease import Lease
from chat.event_log.log import EventLog
from chat.event_log.read import rows_after
from chat.models import rows
from chat.models.long_text import SLICE_CHARS, SlicedText, TextSlice
from chat.search.tokens import INDEXED_MAX_CHARS

# A shorter text is one value. A longer one is not rendered, so only its beginning is needed at the end.
INLINE_MAX_CHARS = rendering.MAX_CHARS

# Runs an operation in a transaction of its own.
type Store = Callable[[Callable[[], Any]], Awaitable[Any]]


async def store_in_slices(
    log: EventLog, lease: Lease, message_id: int, *, prefix: str = "", expected_chars: int = 0
) -> tuple[str | SlicedText, str | SlicedText]:
    """Return text and thinking of an answer whose log is committed, as its message takes them.

    Long ones are stored in slices. `expected_chars`: how long the text will be, if that is known;
    then a long one is not held in memory until it turns out to be long. Raises LeaseLost.
    """

    def new_text() -> _GrowingText:
        is_long = len(prefix) + expected_chars > INLINE_MAX_CHARS
        return _GrowingText(
            message_id, store, prefix, held_chars=SLICE_CHARS if is_long else INLINE_MAX_CHARS
        )

    def new_thinking() -> _GrowingText:
        return _GrowingText(message_id, store, "", held_chars=INLINE_MAX_CHARS)

    store: Store = partial(log.prepare_end, lease)
    delete_unused = partial(TextSlice.delete_unused, [message_id])
    # Left by an owner that died before the end.
    await store(delete_unused)
    text, thinking, seq = new_text(), new_thinking(), 0
    while page := await database_sync_to_async(rows_after)(lease.generation_id, seq):
        for row in page:
            match events.decode(row.payload):
                case events.Delta(piece):
                    await text.add(piece)
                case events.Thinking(piece):
                    await thinking.add(piece)
                case events.Restarted():
                    await store(delete_unused)
                    text, thinking = new_text(), new_thinking()
        seq = page[-1].seq
    return await text.stored(), await thinking.stored()


class _GrowingText:
    """One text that grows: in memory up to a limit, then in slices."""

    def __init__(self, message_id: int, store: Store, start: str, *, held_chars: int) -> None:
        """Begin with `start`; hold so many characters before the first slice."""
        self._message_id, self._store, self._held_chars = message_id, store, held_chars
        self._key = TextSlice.new_key()
        self._pieces = _cut(start)
        self._chars = len(start)
        self._start, self._slices = "", 0

    async def add(self, text: str) -> None:
        self._pieces += _cut(text)
        self._chars += len(text)
        if self._chars > (SLICE_CHARS if self._slices else self._held_chars):
            await self._store_slices()

    async def stored(self) -> str | SlicedText:
        """Return the text, or a reference to its slices."""
        if not self._slices and self._chars <= INLINE_MAX_CHARS:
            return "".join(self._pieces)
        await self._store_slices(is_end=True)
        return SlicedText(self._key, self._slices, self._start)

    async def _store_slices(self, *, is_end: bool = False) -> None:
        """Store what is in memory, slice by slice; before the end, whole slices only."""
        waiting = deque(self._pieces)  # taken from it piece by piece: a second copy may be large
        self._pieces, self._chars = [], 0
        while waiting:
            while waiting and (not self._pieces or self._chars + len(waiting[0]) <= SLICE_CHARS):
                self._pieces.append(waiting.popleft())
                self._chars += len(self._pieces[-1])
            if waiting or is_end or self._chars >= SLICE_CHARS:
                await self._store_slice("".join(self._pieces))
                self._pieces, self._chars = [], 0

    async def _store_slice(self, text: str) -> None:
        row = TextSlice(key=self._key, position=self._slices, message_id=self._message_id, text=text)
        await self._store(partial(rows.insert, row))
        self._slices += 1
        self._start += text[: INDEXED_MAX_CHARS - len(self._start)]


def _cut(text: str) -> list[str]:
    return [text[start : start + SLICE_CHARS] for start in range(0, len(text), SLICE_CHARS)]
