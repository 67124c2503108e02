"""One call: request body, timeouts, and what counts as a complete answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Any

from chat import events
from chat.text import clean
from chat.upstream import errors, translate
from chat.upstream.client import Client, UpstreamRequest
from chat.upstream.sse import Decoder, StreamChunk
from chat.upstream.types import Finished, Prompt, Target, Usage

# After the finish reason only the usage and [DONE] may follow; a server that keeps the connection open
# longer than this is not waited for.
TRAILER_TIMEOUT_S = 5.0


async def call_target(
    target: Target, prompt: Prompt, client: Client, *, first_token_s: float, total_deadline_s: float
) -> AsyncGenerator[events.Thinking | events.Delta | Finished]:
    """Make one call and yield its text.

    Yields at most one step of each kind for a network read; the last step is `Finished`. Raises
    UpstreamError.
    """
    reader = _AnswerReader(target, first_token_s, total_deadline_s)
    request = UpstreamRequest(
        target.base_url,
        target.api_key,
        _body(target, prompt),
        target.timeouts.connect_s,
        encoded_messages=prompt.encoded,
    )
    try:
        async with AsyncExitStack() as stack:
            reads = await reader.within(stack.enter_async_context(client.open(request)))
            async for step in reader.steps(reads):
                yield step
    except errors.UpstreamError:
        if reader.finish_reason is None:
            raise
    finished = reader.finished()
    if reader.has_half_character:
        yield events.Delta("\N{REPLACEMENT CHARACTER}")
    yield finished


class _AnswerReader:
    """Reads one answer from the network and enforces its time limits."""

    def __init__(self, target: Target, first_token_s: float, total_deadline_s: float) -> None:
        self._target = target
        self._first_token_s = first_token_s
        self._total_deadline_s = total_deadline_s
        self._loop = asyncio.get_running_loop()
        self._progress_deadline_s = self._loop.time() + first_token_s
        self._has_progress = False
        self._decoder = Decoder()
        self._usage: Usage | None = None
        self._failure: errors.UpstreamError | None = None
        self._has_tool_calls = False
        self._has_text = False
        self.finish_reason: str | None = None

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

    async def steps(self, reads: AsyncIterator[bytes]) -> AsyncIterator[events.Thinking | events.Delta]:
        """Yield the text of each network read until the answer ends."""
        end = b""
        while not self._decoder.is_done:
            data = await self.within(anext(reads, end))
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

    def _process(self, chunks: list[StreamChunk]) -> list[events.Thinking | events.Delta]:
        """Return the joined text of one read's chunks; remember what else they contain."""
        thinking: list[str] = []
        text: list[str] = []
        for chunk in chunks:
            if chunk.error is not None:
                # Raised after the text that came before it in the same read.
                self._failure = translate.from_stream(chunk.error, self._target.api_key)
                break
            self._usage = chunk.usage or self._usage
            if not chunk.choices:
                continue
            choice = chunk.choices[0]
            self._note_progress(choice.finish_reason)
            delta = choice.delta
            if delta is None:
                continue
            text.append(delta.content or delta.refusal or "")
            thinking.append(delta.reasoning_content or delta.reasoning or "")
            self._has_tool_calls = self._has_tool_calls or bool(delta.tool_calls)
        return self._steps_of("".join(thinking), "".join(text))

    def _steps_of(self, thinking: str, text: str) -> list[events.Thinking | events.Delta]:
        steps: list[events.Thinking | events.Delta] = []
        if thinking := clean(thinking):
            steps.append(events.Thinking(thinking))
        if text := clean(text):
            self._has_text = True
            steps.append(events.Delta(text))
        return steps

    @property
    def has_half_character(self) -> bool:
        """Whether the answer ended with half of a surrogate pair."""
        return self._decoder.has_half_character

    def _note_progress(self, finish_reason: str | None) -> None:
        self._has_progress = True
        now_s = self._loop.time()
        self._progress_deadline_s = now_s + self._target.timeouts.stall_s
        if finish_reason:
            self.finish_reason = finish_reason
            self._progress_deadline_s = min(self._progress_deadline_s, now_s + TRAILER_TIMEOUT_S)

    def finished(self) -> Finished:
        """Return the end of a complete answer.

        Raises Cut, NotAStream, AnswerUnusable or ContentFiltered if the answer is not complete.
        """
        if self.finish_reason is None:
            if not self._decoder.has_event:
                raise errors.NotAStream("status 200 without any event")
            if not (self._decoder.is_done and self._target.finish_reason_optional):
                ending = "[DONE]" if self._decoder.is_done else "end of the stream"
                raise errors.Cut(f"{ending} without a finish reason")
        if not self._has_text and self._has_tool_calls:
            raise errors.AnswerUnusable("tool calls only")
        if not self._has_text and self.finish_reason == "content_filter":
            raise errors.ContentFiltered("finish_reason content_filter")
        return Finished(self.finish_reason or "stop", self._usage, self._target)


def _body(target: Target, prompt: Prompt) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": target.model,
        "messages": list(prompt.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **prompt.extra,
    }
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    limits = [limit for limit in (target.max_output_tokens, prompt.max_output_tokens) if limit is not None]
    if limits:
        # OpenAI's newer models reject the old name; most other servers accept only that one.
        name = "max_completion_tokens" if "api.openai.com" in target.base_url else "max_tokens"
        body[name] = min(limits)
    return body
