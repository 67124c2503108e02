"""One call: timeouts, and what counts as a complete answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Collection
from contextlib import AsyncExitStack

from chat import events
from chat.text import clean
from chat.upstream import errors, lenient, translate
from chat.upstream.client import Client, UpstreamRequest
from chat.upstream.finish_reasons import Ending, ending_of, reason_in
from chat.upstream.reasoning_tags import ReasoningTags
from chat.upstream.request_body import request_body
from chat.upstream.sse import Decoder
from chat.upstream.types import Finished, Prompt, StreamChoice, StreamChunk, StreamDelta, Target, Usage

logger = logging.getLogger(__name__)

# A finish reason is a word.
FINISH_REASON_MAX_CHARS = 40

type Text = events.Thinking | events.Delta | events.Restarted


async def call_target(
    target: Target,
    prompt: Prompt,
    client: Client,
    *,
    refused: Collection[str] = (),
    first_token_s: float,
    total_deadline_s: float,
) -> AsyncGenerator[Text | Finished]:
    """Make one call and yield its text.

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
    finished = reader.finished()
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
        self._has_tool_calls = False
        self._has_text = False
        # The number of the choice that is read: the first one, if the endpoint sends several.
        self._index: int | None = None
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
            failure = self._failure or self._decoder.failure
            if failure is not None:
                raise failure
            if not data:
                return
        for step in self._process(self._decoder.end()):
            yield step

    def _process(self, chunks: list[StreamChunk]) -> list[Text]:
        """Return the joined text of one read's chunks; remember what else they contain."""
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
            new_text = delta.content or delta.refusal or ""
            new_thinking = delta.reasoning_content or delta.reasoning or ""
            text.append(new_text)
            thinking.append(new_thinking)
            self._has_tool_calls = self._has_tool_calls or bool(delta.tool_calls)
            has_news = bool(new_text or new_thinking)
            if has_news or delta.tool_calls or choice.finish_reason or self._has_progress:
                self._note_progress(choice.finish_reason, has_text=has_news)
        return self._steps_of("".join(thinking), "".join(text))

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
        steps = self._tags.end() if self._tags is not None else []
        if self._decoder.has_half_character:
            steps.append(events.Delta("\N{REPLACEMENT CHARACTER}"))
        return steps

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
        has_answer = self._has_text or self._has_tool_calls
        return self._finish_reason is not None and not self._goes_on and has_answer

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
        if not self._has_text and self._has_tool_calls:
            raise errors.AnswerUnusable("tool calls only")
        if not self._has_text and ending is Ending.FILTERED:
            raise errors.ContentFiltered(f"finish reason {reason}")
        return Finished(ending.value, self._usage, self._target)

    def _check_ending(self) -> None:
        """Raise NotAStream or Cut if the answer ended without a finish reason and needs one."""
        if self._decoder.is_document and self._index is not None:
            return
        if not self._decoder.has_event:
            raise errors.NotAStream("status 200 without any event")
        if not (self._decoder.is_done and self._target.finish_reason_optional):
            ending = "[DONE]" if self._decoder.is_done else "end of the stream"
            raise errors.Cut(f"{ending} without a finish reason")
