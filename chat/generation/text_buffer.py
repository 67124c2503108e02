"""Text, tool calls and pictures of one running answer, in memory. A very long text is read from its log."""

from __future__ import annotations

import asyncio
import ctypes
import functools
from collections.abc import Callable
from typing import Any

from chat import events
from chat.event_log.read import ReplayedText, areplay
from chat.event_log.writer import Writer
from chat.generation.usage import estimate_tokens

# By then the writer and the event loop have released the answer.
RELEASE_AFTER_S = 2.0
# The longest answer that is allowed by default; only sites that allow more read from the log.
KEPT_MAX_CHARS = 1_000_000
# Of an answer that is too long to be kept: as in a text of words of five letters.
CHARS_PER_TOKEN = 6
# All log probabilities of an answer: those of 4,000 tokens, each with 20 alternatives.
LOGPROBS_MAX_BYTES = 8 * 1024 * 1024


class TextBuffer:
    """What an answer consists of so far, as its readers see it, without the prefix that it continues."""

    def __init__(self, generation_id: int, replayed: ReplayedText, writer: Writer) -> None:
        """Start with the text of the log."""
        self._generation_id = generation_id
        self._writer = writer
        self._text: list[str] = [replayed.text]
        self._thinking: list[str] = [replayed.thinking]
        self._is_in_memory = True
        # Of the text alone.
        self.chars = len(replayed.text)
        self._thinking_chars = len(replayed.thinking)
        self._keep(self._text, "")
        # Always in memory: the answer's limit holds for them as well.
        self._call_pieces = [
            events.ToolCall(index, call.id, call.name, call.arguments)
            for index, call in enumerate(replayed.tool_calls)
        ]
        self._images = [*replayed.images]
        self._is_refusal = replayed.is_refusal
        # How many pieces of text, thinking and tool calls there were when the call in progress began.
        self._call_start = (1, 1, len(self._call_pieces))
        # What the call in progress has sent besides, until it failed.
        self.hidden_text = ""
        self._call_chars = sum(len(piece.arguments) for piece in self._call_pieces)
        # Always in memory, too.
        self._choices: list[events.ChoicePiece] = []
        self._choice_chars = 0
        self._logprobs_bytes = 0
        self.add_step(events.Choices([*replayed.choices]))

    def add(self, text: str, *, is_refusal: bool = False) -> None:
        """Add a piece of text that was appended to the log."""
        self._is_refusal = self._is_refusal or is_refusal
        self.chars += len(text)
        self._keep(self._text, text)

    def add_thinking(self, text: str) -> None:
        """Add a piece of thinking that was appended to the log."""
        self._thinking_chars += len(text)
        self._keep(self._thinking, text)

    def add_step(self, step: events.Delta | events.ToolCall | events.Choices | events.Image) -> None:
        """Add text, a piece of a tool call, pieces of choices, or a picture, as appended to the log."""
        match step:
            case events.Delta(text, is_refusal):
                self.add(text, is_refusal=is_refusal)
            case events.ToolCall():
                self._call_chars += len(step.arguments)
                self._call_pieces.append(step)
            case events.Image():
                self._images.append(step)
            case events.Choices(pieces):
                self._choices += pieces
                self._choice_chars += sum(len(piece.written) for piece in pieces)
                encoded = (events.encode(piece) for piece in pieces if piece.logprobs is not None)
                self._logprobs_bytes += sum(map(len, encoded))

    @property
    def has_many_logprobs(self) -> bool:
        """Whether there are more log probabilities than an answer may have."""
        return self._logprobs_bytes > LOGPROBS_MAX_BYTES

    def begin_call(self) -> None:
        """Note that what is added from now on comes from another call."""
        self._call_start = (len(self._text), len(self._thinking), len(self._call_pieces))
        self.hidden_text = ""

    def delivered_tokens(self) -> int:
        """Estimate the tokens that the call in progress has sent."""
        if not self._is_in_memory:
            chars = self.answer_chars + self._thinking_chars + len(self.hidden_text)
            return chars // CHARS_PER_TOKEN
        if self._choices:  # all of them are one call's, and the first one is the answer itself
            return estimate_tokens("".join(piece.written for piece in self._choices))
        texts, thoughts, calls = self._call_start
        arguments = (piece.arguments for piece in self._call_pieces[calls:])
        shown = (*self._thinking[thoughts:], *self._text[texts:], *arguments)
        return estimate_tokens("".join((self.hidden_text, *shown)))

    @property
    def answer_chars(self) -> int:
        """The length of the answer: its text and the arguments of its calls, in all choices."""
        return max(self.chars + self._call_chars, self._choice_chars)

    @property
    def is_displayed(self) -> bool:
        """Whether readers see some text, a tool call, a choice, or a picture."""
        return bool(self.chars or self._call_pieces or self._choices or self._images)

    @property
    def tool_calls(self) -> list[events.WholeToolCall]:
        return events.whole_tool_calls(self._call_pieces)

    @property
    def images(self) -> list[events.Image]:
        return [*self._images]

    @property
    def choices(self) -> list[events.ChoicePiece]:
        return [*self._choices]

    @property
    def is_refusal(self) -> bool:
        return self._is_refusal

    def _keep(self, pieces: list[str], piece: str) -> None:
        if self._is_in_memory and self.chars + self._thinking_chars > KEPT_MAX_CHARS:
            self._is_in_memory = False
            self._text, self._thinking = [], []
        elif self._is_in_memory:
            pieces.append(piece)

    def reset(self) -> None:
        """Remove everything: the answer restarts.

        Choices stay: an answer with them restarts only because its text turned out to be reasoning.
        """
        self._text, self._thinking = [], []
        self._call_pieces, self._call_chars, self._images = [], 0, []
        self._call_start = (0, 0, 0)
        self._is_refusal = False
        self.chars = self._thinking_chars = 0
        self._is_in_memory = True

    @property
    def is_long(self) -> bool:
        """Whether the answer is too long to be kept in memory."""
        return not self._is_in_memory

    async def read(self) -> ReplayedText:
        """Return the answer; a long one from its log, once that is committed."""
        if self._is_in_memory:
            text, thinking = "".join(self._text), "".join(self._thinking)
            beside = (self.tool_calls, self._is_refusal, self._choices, self._images)
            return ReplayedText(0, text, thinking, *beside)
        await self.written()
        return await self.committed()

    async def written(self) -> None:
        """Wait until everything that was added is in the log."""
        await self._writer.arun(lambda: None)

    async def committed(self) -> ReplayedText:
        """Return the answer from the log: only what a reader can have seen."""
        return await areplay(self._generation_id)

    async def text(self) -> str:
        """Return the text alone."""
        return (await self.read()).text


def release_memory_soon() -> None:
    """Return freed memory to the operating system; after a very long answer glibc would keep it."""
    if (trim := _malloc_trim()) is not None:
        asyncio.get_running_loop().call_later(RELEASE_AFTER_S, trim, 0)


@functools.cache
def _malloc_trim() -> Callable[[int], Any] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
