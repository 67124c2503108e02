"""Joining what a new call sends to what is displayed already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chat import events
from chat.upstream.images import ReceivedImage
from chat.upstream.types import Finished, Recovery

# A shorter text is restarted: the new answer may begin like it by chance, and little is lost.
CONTINUE_MIN_CHARS = 8

type Spliced = (
    events.Thinking
    | events.Delta
    | events.ToolCall
    | events.Choices
    | ReceivedImage
    | events.Restarted
    | Finished
)


class Splice:
    """Passes on the answer of one call, without what only repeats the answer before it.

    A call that continues may repeat the partial text first: the repetition is dropped. A call that restarts
    may produce the same text and the same tool calls again: what follows is then appended, without a visible
    splice, and the tool calls keep their first ids. Its first pictures count as those that are displayed,
    which stay: no two are equal. If it produces anything else, a `restarted` event comes first. The new
    answer is held back until that is decided.
    """

    def __init__(
        self,
        text_before: str,
        recovery: Recovery,
        reason: str = "",
        calls_before: Sequence[events.WholeToolCall] = (),
        images_before: int = 0,
    ) -> None:
        """`text_before`, `calls_before`, `images_before`: what to join to.

        `reason`: why the answer restarts, if it does.
        """
        self._text_before = text_before
        self._calls_before = calls_before
        self._recovery = recovery
        self._reason = reason
        # Held back: thinking, this many characters of `text_before`, repeated, and pieces of calls.
        self._thinking: list[events.Thinking] = []
        self._repeated = 0
        self._pieces: list[events.ToolCall] = []
        self._images: list[ReceivedImage] = []
        # How many pictures are still to come that are displayed already.
        self._repeated_images = images_before
        # By the index of a call: characters of its arguments, repeated.
        self._repeated_arguments: dict[int, int] = {}
        self._is_undecided = True
        self._is_refusal = False
        self._dropped = ""

    @property
    def hidden_text(self) -> str:
        """What the call has sent and was not passed on: repetitions, and what is held back."""
        if not self._is_undecided:
            return self._dropped
        thoughts = (thinking.text for thinking in self._thinking)
        arguments = (piece.arguments for piece in self._pieces)
        return "".join((*thoughts, self._text_before[: self._repeated], *arguments))

    def feed(self, step: Spliced) -> Iterator[Spliced]:
        """Yield what is to be shown now of `step` and of what was held back before it."""
        match step:
            case events.Thinking() if self._is_undecided and self._recovery is Recovery.RESTART:
                self._thinking.append(step)
            case ReceivedImage() if self._recovery is Recovery.RESTART:
                self._images.append(step)
                if not self._is_undecided or (self._has_repeated_text and not self._calls_before):
                    yield from self._new_images()
            case events.Delta() if self._is_undecided:
                self._is_refusal = step.is_refusal
                yield from self._compare(step.text)
            case events.ToolCall() if self._is_undecided:
                yield from self._compare_call(step)
            case events.Restarted():
                self._is_undecided = False
                self._repeated_images = 0
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
        elif text.startswith(rest) and not self._calls_before:
            self._is_undecided, self._dropped = False, self._text_before
            yield events.Delta(text.removeprefix(rest), self._is_refusal)
            yield from self._new_images()
        else:
            yield from self.flush()
            yield events.Delta(text, self._is_refusal)

    def _new_images(self) -> Iterator[Spliced]:
        """Yield the pictures that are not displayed already."""
        images, self._images = self._images, []
        repeated = min(self._repeated_images, len(images))
        self._repeated_images -= repeated
        yield from images[repeated:]

    def _compare_call(self, piece: events.ToolCall) -> Iterator[Spliced]:
        if self._recovery is Recovery.CONTINUE or not self._calls_before:
            yield from self.flush()
            yield piece
            return
        self._pieces.append(piece)
        if not self._has_repeated_text or not self._agrees(piece):
            yield from self.flush()
        elif self._have_calls_repeated:
            self._is_undecided = False
            yield from self._surplus(events.whole_tool_calls(self._pieces))

    @property
    def _has_repeated_text(self) -> bool:
        return self._repeated == len(self._text_before)

    def _agrees(self, piece: events.ToolCall) -> bool:
        """Whether a piece is what was displayed at its place, as far as that goes."""
        if piece.index >= len(self._calls_before):
            return False
        old = self._calls_before[piece.index]
        if piece.name and piece.name != old.name:
            return False
        start = self._repeated_arguments.get(piece.index, 0)
        expected = old.arguments[start : start + len(piece.arguments)]
        self._repeated_arguments[piece.index] = start + len(expected)
        return piece.arguments.startswith(expected)

    @property
    def _have_calls_repeated(self) -> bool:
        """Whether the new calls contain all that was displayed of those before."""
        repeated = self._repeated_arguments
        return all(repeated.get(index) == len(old.arguments) for index, old in enumerate(self._calls_before))

    def _surplus(self, calls: Sequence[events.WholeToolCall]) -> Iterator[Spliced]:
        """Yield what new calls, which repeat those before, have in addition."""
        for index, new in enumerate(calls):
            if index >= len(self._calls_before):
                yield events.ToolCall(index, new.id, new.name, new.arguments)
            elif more := new.arguments.removeprefix(self._calls_before[index].arguments):
                yield events.ToolCall(index, arguments=more)

    def flush(self) -> Iterator[Spliced]:
        """Yield what was held back, unless it repeats the whole answer before it."""
        self._is_undecided = False
        if self._has_repeated_text and not self._calls_before:
            self._dropped = self._text_before
            yield from self._new_images()
            return
        if self._recovery is Recovery.RESTART:
            yield events.Restarted(self._reason)
            yield from self._thinking
            self._repeated_images = 0
        if self._repeated:
            yield events.Delta(self._text_before[: self._repeated], self._is_refusal)
        yield from self._pieces
        yield from self._new_images()
