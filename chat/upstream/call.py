"""One call: what is sent, the first-token and stall time-outs, and what counts as a complete answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Any

from chat import events
from chat.text import clean
from chat.upstream import errors
from chat.upstream.client import Call, Client
from chat.upstream.sse import Chunk, Decoder
from chat.upstream.types import Finished, Prompt, Target, Usage

# After a finish reason only the usage and [DONE] can come; nobody waits
# for a server that keeps the line open.
EPILOGUE_S = 5.0


async def attempt(
    target: Target, prompt: Prompt, client: Client, *, first_token_s: float, total_deadline: float
) -> AsyncGenerator[events.Thinking | events.Delta | Finished]:
    """Make one call and yield its text, one step per network read and kind. Raises UpstreamError."""
    reader = _Reader(target, first_token_s, total_deadline)
    call = Call(target.base_url, target.api_key, _body(target, prompt), target.timeouts.connect_s)
    try:
        async with AsyncExitStack() as stack:
            reads = await reader.within(stack.enter_async_context(client.open(call)))
            async for step in reader.steps(reads):
                yield step
    except errors.UpstreamError:
        if reader.finish_reason is None:
            raise
    finished = reader.finished()
    if reader.has_half:
        yield events.Delta("\N{REPLACEMENT CHARACTER}")
    yield finished


class _Reader:
    """Reads one answer: what it has said so far, and until when it must say more."""

    def __init__(self, target: Target, first_token_s: float, total_deadline: float) -> None:
        self._target = target
        self._first_token_s = first_token_s
        self._total_deadline = total_deadline
        self._loop = asyncio.get_running_loop()
        self._progress_deadline = self._loop.time() + first_token_s
        self._has_progress = False
        self._decoder = Decoder()
        self._usage: Usage | None = None
        self._failure: errors.UpstreamError | None = None
        self._has_tool_calls = False
        self._has_text = False
        self.finish_reason: str | None = None

    async def within[T](self, read: Awaitable[T]) -> T:
        """Await the next thing from the endpoint; raises the time-out that comes first."""
        deadline = min(self._progress_deadline, self._total_deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await read
        except TimeoutError:
            raise self._timed_out(deadline) from None

    def _timed_out(self, deadline: float) -> errors.UpstreamError:
        if deadline == self._total_deadline:
            return errors.TotalTimedOut(f"{self._target.timeouts.total_s:g} s")
        if self._has_progress:
            return errors.Stalled(f"nothing for {self._target.timeouts.stall_s:g} s")
        return errors.FirstTokenTimedOut(f"nothing for {self._first_token_s:g} s")

    async def steps(self, reads: AsyncIterator[bytes]) -> AsyncIterator[events.Thinking | events.Delta]:
        """Yield the text of each network read until the answer ends."""
        nothing = b""
        while not self._decoder.is_done:
            data = await self.within(anext(reads, nothing))
            chunks = self._decoder.feed(data) if data else self._decoder.end()
            for step in self._text_of(chunks):
                yield step
            failure = self._failure or self._decoder.failure
            if failure is not None:
                raise failure
            if not data:
                return
        for step in self._text_of(self._decoder.end()):
            yield step

    def _text_of(self, chunks: list[Chunk]) -> list[events.Thinking | events.Delta]:
        """Join the text of one read's chunks, thinking first, and note everything else they say."""
        thinking: list[str] = []
        text: list[str] = []
        for chunk in chunks:
            if chunk.error is not None:
                # Raised after the text that came before it in the same read.
                self._failure = _streamed_error(chunk.error, self._target.api_key)
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
        steps: list[events.Thinking | events.Delta] = []
        if joined := clean("".join(thinking)):
            steps.append(events.Thinking(joined))
        if joined := clean("".join(text)):
            self._has_text = True
            steps.append(events.Delta(joined))
        return steps

    @property
    def has_half(self) -> bool:
        """Whether the answer ended with half a character."""
        return self._decoder.has_half

    def _note_progress(self, finish_reason: str | None) -> None:
        self._has_progress = True
        self._progress_deadline = self._loop.time() + self._target.timeouts.stall_s
        if finish_reason:
            self.finish_reason = finish_reason
            self._progress_deadline = min(self._progress_deadline, self._loop.time() + EPILOGUE_S)

    def finished(self) -> Finished:
        """Judge how it ended. Raises Cut, NotAStream or AnswerUnusable if that was not an answer."""
        if self.finish_reason is None:
            if not self._decoder.has_event:
                raise errors.NotAStream("200 without a single event")
            if not (self._decoder.is_done and self._target.finish_reason_optional):
                ending = "[DONE]" if self._decoder.is_done else "the end of the stream"
                raise errors.Cut(f"{ending} without a finish reason")
        if not self._has_text and self._has_tool_calls:
            raise errors.AnswerUnusable("tool calls only")
        if not self._has_text and self.finish_reason == "content_filter":
            raise errors.ContentFiltered("finish_reason content_filter")
        return Finished(self.finish_reason or "stop", self._usage, self._target)


def _streamed_error(error: Any, api_key: str) -> errors.UpstreamError:
    """Say what an error inside a 200 stream means."""
    said = error.get("message") if isinstance(error, dict) else error
    words = {str(error.get("code")), str(error.get("type"))} if isinstance(error, dict) else set()
    detail = errors.redacted(str(said), api_key)
    if words & {"context_length_exceeded", "exceed_context_size_error"}:
        return errors.ContextTooLong(detail)
    if words & {"content_filter", "content_policy_violation"}:
        return errors.ContentFiltered(detail)
    if "insufficient_quota" in words:
        return errors.QuotaExhausted(detail)
    return errors.StreamedError(detail)


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
        # OpenAI's newer models refuse the old name; most other servers know only that.
        name = "max_completion_tokens" if "api.openai.com" in target.base_url else "max_tokens"
        body[name] = min(limits)
    return body
