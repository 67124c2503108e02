"""One call: timeouts, and what counts as a complete answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from chat import events
from chat.text import clean
from chat.upstream import errors, lenient, translate
from chat.upstream.choices import ChoicesReader
from chat.upstream.client import Client, UpstreamRequest
from chat.upstream.finish_reasons import Ending, ending_of, reason_in
from chat.upstream.images import ImageReader, ReceivedImage
from chat.upstream.reasoning_tags import ReasoningTags
from chat.upstream.request_body import request_body
from chat.upstream.sse import Decoder
from chat.upstream.tool_calls import ToolCallReader
from chat.upstream.types import Finished, Prompt, StreamChoice, StreamChunk, StreamDelta, Target, Usage

logger = logging.getLogger(__name__)

# Stored with the attempt.
UNOFFERED_CALLS = "The model called tools that the request does not offer. The calls were left out."
# A finish reason is a word.
FINISH_REASON_MAX_CHARS = 40

type Text = (
    events.Thinking | events.Delta | events.ToolCall | events.Choices | events.Restarted | ReceivedImage
)


async def call_target(
    target: Target,
    prompt: Prompt,
    client: Client,
    *,
    refused: Collection[str] = (),
    first_token_s: float,
    total_deadline_s: float,
) -> AsyncGenerator[Text | Finished]:
    """Make one call and yield its text, tool calls and pictures.

    Yields few steps for a network read; the last step is `Finished`. `Restarted` comes before text that was
    displayed as the answer and turned out to be reasoning. Raises UpstreamError.

    `refused`: parameters that the model does not accept. `first_token_s`: the patience before the first sign
    of the endpoint.
    """
    reader = _AnswerReader(target, prompt, first_token_s, total_deadline_s)
    request = UpstreamRequest(
        target.base_url,
        target.api_key,
        request_body(target, prompt, refused),
        target.timeouts.connect_s,
        encoded_messages=prompt.encoded,
    )
    try:
        async with AsyncExitStack() as stack:
            reads = await reader.within(stack.enter_async_context(client.open(request)))
            async for step in reader.steps(reads):
                yield step
    except errors.UpstreamError:
        if not reader.is_whole:
            raise
    finished = replace(reader.finished(), request_id="".join(request.ids))
    for step in reader.last_steps():
        yield step
    yield finished


class _AnswerReader:
    """Reads one answer from the network and enforces its time limits."""

    def __init__(self, target: Target, prompt: Prompt, first_token_s: float, total_deadline_s: float) -> None:
        self._target = target
        self._first_token_s = first_token_s
        self._total_deadline_s = total_deadline_s
        self._loop = asyncio.get_running_loop()
        self._progress_deadline_s = self._loop.time() + first_token_s
        self._has_progress = False
        self._decoder = Decoder()
        # What continues a partial answer has no reasoning at its start.
        self._tags = None if prompt.prefill else ReasoningTags()
        self._usage: Usage | None = None
        self._failure: errors.UpstreamError | None = None
        # None: no tools were offered.
        self._calls = ToolCallReader() if prompt.has_tools else None
        self._has_unoffered_calls = False
        self._images = ImageReader()
        self._has_text = False
        # The number of the choice that is read: the first one, if the endpoint sends several.
        self._index: int | None = 0 if prompt.choices else None
        # None: only that choice is passed on.
        self._choices = ChoicesReader(prompt.choices, has_tools=prompt.has_tools) if prompt.choices else None
        self._last_choices: list[Text] = []
        self._finish_reason: str | None = None
        # Whether text came after the finish reason.
        self._goes_on = False

    async def within[T](self, read: Awaitable[T]) -> T:
        """Await a read from the endpoint. Raises the timeout that expires first."""
        deadline_s = min(self._progress_deadline_s, self._total_deadline_s)
        try:
            async with asyncio.timeout_at(deadline_s):
                return await read
        except TimeoutError:
            raise self._timed_out(deadline_s) from None

    def _timed_out(self, deadline_s: float) -> errors.UpstreamError:
        if deadline_s == self._total_deadline_s:
            return errors.TotalTimedOut(f"{self._target.timeouts.total_s:g} s")
        if self._has_progress:
            return errors.Stalled(f"no data for {self._target.timeouts.stall_s:g} s")
        return errors.FirstTokenTimedOut(f"no data for {self._first_token_s:g} s")

    async def steps(self, reads: AsyncIterator[bytes]) -> AsyncIterator[Text]:
        """Yield the text of each network read until the answer ends."""
        end = b""
        while not self._decoder.is_done:
            data = await self.within(anext(reads, end))
            if not self._has_progress:
                self._note_sign_of_life()
            chunks = self._decoder.feed(data) if data else self._decoder.end()
            for step in self._process(chunks):
                yield step
                if isinstance(step, ReceivedImage):  # the caller may have taken its time to store it
                    self._progress_deadline_s = self._loop.time() + self._target.timeouts.stall_s
            failure = self._failure or self._decoder.failure
            if failure is not None:
                raise failure
            if not data:
                return
        for step in self._process(self._decoder.end()):
            yield step

    def _process(self, chunks: list[StreamChunk]) -> list[Text]:
        """Return the joined text and the tool calls of one read's chunks; remember what else they contain."""
        steps: list[Text] = [] if self._choices is None else self._steps_of_choices(chunks)
        thinking: list[str] = []
        text: list[str] = []
        for chunk in chunks:
            if chunk.error is not None:
                # Raised after the text that came before it in the same read.
                self._failure = translate.from_stream(chunk.error, self._target.api_key)
                break
            if chunk.usage:
                self._usage = lenient.usage_of(chunk.usage) or self._usage
            choice = self._choice_of(chunk)
            if choice is None:
                continue
            delta = choice.delta or StreamDelta()
            new_text = delta.content or ""
            new_thinking = delta.reasoning_content or delta.reasoning or ""
            text.append(new_text)
            thinking.append(new_thinking)
            has_news = bool(new_text or new_thinking)
            if delta.refusal or delta.tool_calls or delta.images:
                has_news = bool(has_news or delta.refusal or delta.images or self._calls is not None)
                steps += self._steps_of("".join(thinking), "".join(text))
                steps += self._steps_beside_text(delta)
                thinking, text = [], []
            if has_news or delta.tool_calls or choice.finish_reason or self._has_progress:
                self._note_progress(choice.finish_reason, has_text=has_news)
        steps += self._steps_of("".join(thinking), "".join(text))
        return steps

    def _steps_of_choices(self, chunks: list[StreamChunk]) -> list[Text]:
        """Return the pieces of all choices. They come before the steps of the first choice."""
        assert self._choices is not None
        pieces: list[events.ChoicePiece] = []
        try:
            for chunk in chunks:
                if chunk.error is not None:
                    break
                pieces += self._choices.feed(chunk.choices or ())
        except errors.Malformed as exc:
            self._failure = exc
        if pieces:
            self._note_progress(None, has_text=False)
        return [events.Choices(pieces)] if pieces else []

    def _steps_beside_text(self, delta: StreamDelta) -> list[Text]:
        steps = self._steps_of_refusal(delta.refusal) if delta.refusal else []
        steps += self._steps_of_calls(delta.tool_calls) if delta.tool_calls else []
        return steps + (self._steps_of_images(delta.images) if delta.images else [])

    def _steps_of_images(self, value: Any) -> list[Text]:
        """Return the pictures in an `images` field, after the text that was held back."""
        images = self._images.feed(value)
        steps: list[Text] = [] if self._tags is None or not images else [*self._tags.end()]
        self._note_steps(steps)
        if images:
            self._has_text = True
            self._tags = None  # what follows cannot make reasoning of a picture
        return [*steps, *images]

    def _steps_of_refusal(self, text: str) -> list[Text]:
        text = clean(text)
        self._has_text = self._has_text or bool(text)
        return [events.Delta(text, is_refusal=True)] if text else []

    def _steps_of_calls(self, value: Any) -> list[Text]:
        """Return the pieces of calls in a `tool_calls` field, after the text that was held back."""
        if self._calls is None:
            self._has_unoffered_calls = True
            return []
        steps: list[Text] = [] if self._tags is None else [*self._tags.end()]
        self._note_steps(steps)
        try:
            steps += self._calls.feed(value)
        except errors.Malformed as exc:
            self._failure = exc
        return steps

    def _choice_of(self, chunk: StreamChunk) -> StreamChoice | None:
        """Return the chunk's choice that belongs to the answer; None if it has none."""
        choices = chunk.choices or ()
        if self._index is None and choices:
            self._index = min(choice.index for choice in choices)
        if len(choices) == 1 and choices[0].index == self._index:
            return choices[0]  # nearly every piece
        return next((choice for choice in choices if choice.index == self._index), None)

    def _steps_of(self, thinking: str, text: str) -> list[Text]:
        steps: list[Text] = []
        if thinking := clean(thinking):
            steps.append(events.Thinking(thinking))
        if text := clean(text):
            steps += [events.Delta(text)] if self._tags is None else self._tags.feed(text)
        self._note_steps(steps)
        return steps

    def _note_steps(self, steps: list[Text]) -> None:
        for step in steps:
            match step:
                case events.Delta():
                    self._has_text = True
                case events.Restarted():
                    self._has_text = False

    def last_steps(self) -> list[Text]:
        """Return what was held back until the end: half a surrogate pair, or what looked like a tag."""
        steps: list[Text] = [] if self._tags is None else [*self._tags.end()]
        if self._decoder.has_half_character:
            steps.append(events.Delta("\N{REPLACEMENT CHARACTER}"))
        if self._calls is not None and ending_of(self._finish_reason or "") is not Ending.LENGTH:
            steps += self._calls.end()
        return [*self._last_choices, *steps]

    # -- progress ------------------------------------------------------------------------------------

    def _note_sign_of_life(self) -> None:
        """Be patient with an endpoint that sends something before its text, such as comments.

        It is loading a model or has a queue. Another model that could answer is not kept waiting for that.
        """
        if self._first_token_s < self._target.timeouts.first_token_s:
            self._progress_deadline_s = self._loop.time() + self._first_token_s
        else:
            self._progress_deadline_s = self._total_deadline_s

    def _note_progress(self, finish_reason: str | None, *, has_text: bool) -> None:
        self._has_progress = True
        self._progress_deadline_s = self._loop.time() + self._target.timeouts.stall_s
        reason = reason_in(finish_reason)
        if reason is not None:
            self._finish_reason = reason
            self._goes_on = False
        elif has_text:
            self._goes_on = self._finish_reason is not None

    # -- the end -------------------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether the answer is whole although the endpoint did not end the stream."""
        has_answer = self._has_text or self._has_calls or self._has_unoffered_calls
        are_all_whole = self._choices is None or self._choices.is_whole
        return self._finish_reason is not None and not self._goes_on and has_answer and are_all_whole

    @property
    def _has_calls(self) -> bool:
        return self._calls is not None and self._calls.has_calls

    def finished(self) -> Finished:
        """Return the end of a complete answer.

        Raises Cut, NotAStream, UnknownFinishReason, AnswerUnusable or ContentFiltered if it is not complete.
        """
        if self._finish_reason is None:
            self._check_ending()
        reason = self._finish_reason or Ending.COMPLETE.value
        ending = ending_of(reason)
        if ending is Ending.FAILED:
            raise errors.Cut(f"finish reason {reason}")
        if ending is Ending.UNKNOWN:
            logger.warning("%s: unknown finish reason %r", self._target.model, reason)
            raise errors.UnknownFinishReason(reason[:FINISH_REASON_MAX_CHARS])
        has_answer = self._has_text or self._has_calls
        if not has_answer and self._has_unoffered_calls:
            raise errors.AnswerUnusable("tool calls only")
        if not has_answer and ending is Ending.FILTERED:
            raise errors.ContentFiltered(f"finish reason {reason}")
        if ending in (Ending.COMPLETE, Ending.TOOL_CALLS):  # some servers say `stop` after calls
            ending = Ending.TOOL_CALLS if self._has_calls else Ending.COMPLETE
        note = UNOFFERED_CALLS if self._has_unoffered_calls else ""
        if self._choices is not None:
            note = note or self._choices.note
            is_over = self._decoder.is_done or self._decoder.is_document
            may_lack = self._decoder.is_document or (is_over and self._target.finish_reason_optional)
            self._last_choices = [self._choices.end(may_lack_reasons=may_lack, may_be_fewer=is_over)]
        return Finished(ending.value, self._usage, self._target, note)

    def _check_ending(self) -> None:
        """Raise NotAStream or Cut if the answer ended without a finish reason and needs one."""
        if self._decoder.is_document and self._index is not None:
            return
        if not self._decoder.has_event:
            raise errors.NotAStream("status 200 without any event")
        may_end_so = self._decoder.is_done and self._target.finish_reason_optional
        if not may_end_so or not (self._calls is None or self._calls.is_whole):
            ending = "[DONE]" if self._decoder.is_done else "end of the stream"
            raise errors.Cut(f"{ending} without a finish reason")
