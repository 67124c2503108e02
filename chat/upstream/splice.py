"""Where the call after a cut joins the text that is on the screens already."""

from __future__ import annotations

from collections.abc import Iterator

from chat import events
from chat.upstream.types import Finished, Recovery

# With less text than this, what a model says next may begin like it by chance; and little is lost.
CONTINUE_MIN_CHARS = 8


type Text = events.Thinking | events.Delta
type Joined = Text | events.Restarted | Finished


class Seam:
    """Passes the text of one call on, less what only repeats the text before it.

    A call that was to continue may begin with the partial text again: that echo is dropped. A call that
    began anew may say the same again: then it goes on behind it, and nobody sees a seam. If it says
    something else, a `restarted` comes first, and until that is known nothing of it is shown.
    """

    def __init__(self, before: str, recovery: Recovery, reason: str = "") -> None:
        """Join what comes to `before`. `reason`: why it begins anew, if it does."""
        self._before = before
        self._recovery = recovery
        self._reason = reason
        # Held back: thinking, and this much of `before` said again.
        self._thinking: list[events.Thinking] = []
        self._repeated = 0
        self._is_open = True

    def join(self, step: Text | Finished) -> Iterator[Joined]:
        """Yield what of `step`, and of what was held back before it, is to be shown now."""
        match step:
            case events.Thinking() if self._is_open and self._recovery is Recovery.RESTART:
                self._thinking.append(step)
            case events.Delta(text) if self._is_open:
                yield from self._joined(text)
            case Finished():
                if self._is_open:
                    yield from self._let_go()
                yield step
            case _:
                yield step

    def _joined(self, text: str) -> Iterator[Joined]:
        rest = self._before[self._repeated :]
        if rest.startswith(text):
            self._repeated += len(text)
        elif text.startswith(rest):
            self._is_open = False
            yield events.Delta(text.removeprefix(rest))
        else:
            yield from self._let_go()
            yield events.Delta(text)

    def _let_go(self) -> Iterator[Joined]:
        """Yield what was held back, unless it was all of the text before."""
        self._is_open = False
        if self._repeated == len(self._before):
            return
        if self._recovery is Recovery.RESTART:
            yield events.Restarted(self._reason)
            yield from self._thinking
        if self._repeated:
            yield events.Delta(self._before[: self._repeated])
