"""Joining the text of a new call to the text that is displayed already."""

from __future__ import annotations

from collections.abc import Iterator

from chat import events
from chat.upstream.types import Finished, Recovery

# A shorter text is restarted: the new answer may begin like it by chance, and little is lost.
CONTINUE_MIN_CHARS = 8

type Spliced = events.Thinking | events.Delta | events.Restarted | Finished


class Splice:
    """Passes on the text of one call, without what only repeats the text before it.

    A call that continues may repeat the partial text first: the repetition is dropped. A call that restarts
    may produce the same text again: its text is then appended, without a visible splice. If it produces other
    text, a `restarted` event comes first. The new text is held back until that is decided.
    """

    def __init__(self, text_before: str, recovery: Recovery, reason: str = "") -> None:
        """`text_before`: the text to join. `reason`: why the answer restarts, if it does."""
        self._text_before = text_before
        self._recovery = recovery
        self._reason = reason
        # Held back: thinking, and this many characters of `text_before`, repeated.
        self._thinking: list[events.Thinking] = []
        self._repeated = 0
        self._is_undecided = True

    def feed(self, step: Spliced) -> Iterator[Spliced]:
        """Yield what is to be shown now of `step` and of what was held back before it."""
        match step:
            case events.Thinking() if self._is_undecided and self._recovery is Recovery.RESTART:
                self._thinking.append(step)
            case events.Delta(text) if self._is_undecided:
                yield from self._compare(text)
            case events.Restarted():
                self._is_undecided = False
                yield step
            case Finished():
                if self._is_undecided:
                    yield from self.flush()
                yield step
            case _:
                yield step

    def _compare(self, text: str) -> Iterator[Spliced]:
        rest = self._text_before[self._repeated :]
        if rest.startswith(text):
            self._repeated += len(text)
        elif text.startswith(rest):
            self._is_undecided = False
            yield events.Delta(text.removeprefix(rest))
        else:
            yield from self.flush()
            yield events.Delta(text)

    def flush(self) -> Iterator[Spliced]:
        """Yield what was held back, unless it repeats the whole text."""
        self._is_undecided = False
        if self._repeated == len(self._text_before):
            return
        if self._recovery is Recovery.RESTART:
            yield events.Restarted(self._reason)
            yield from self._thinking
        if self._repeated:
            yield events.Delta(self._text_before[: self._repeated])
