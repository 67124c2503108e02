"""The ladder of policies between a question and an endpoint, from the top down:

    stream      total time-out, one answer
    _retrying   tries again what may succeed, within the budget, visibly
    _attempt    one call: first-token and stall time-outs, what counts as a complete answer
    client      authentication, connections

A failure before the first delta is a retry. After it the partial answer stands and the error is
raised: recovery, breakers, slots and fallbacks take their places between these steps.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any

from chat import events
from chat.text import clean
from chat.upstream import errors
from chat.upstream.client import Call, Client
from chat.upstream.sse import Chunk, Decoder
from chat.upstream.sse import Usage as Usage

# After a finish reason only the usage and [DONE] can come; nobody waits
# for a server that keeps the line open.
EPILOGUE_S = 5.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `total_s` covers all attempts of an answer, the others one attempt."""

    connect_s: float = 5.0
    first_token_s: float = 30.0
    stall_s: float = 20.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A model at an endpoint: one member of a route."""

    base_url: str
    api_key: str
    model: str
    endpoint: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    finish_reason_optional: bool = False
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages as the protocol has them: `{"role": …, "content": …}`, oldest first."""

    messages: Sequence[dict[str, Any]]
    temperature: float | None = None
    # What else the endpoint needs in the body, such as vLLM's continue_final_message.
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how patiently a call is tried again. Seconds."""

    calls_per_target: int = 3
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 8.0
    retry_after_max_s: float = 60.0
    backoff_total_s: float = 60.0

    def backoff_s(self, retry: int, uniform: Callable[[float, float], float]) -> float:
        """Return the wait before retry number `retry` (1, 2, …): exponential, with full jitter."""
        return uniform(0.0, min(self.backoff_cap_s, self.backoff_first_s * 2 ** (retry - 1)))


@dataclass(slots=True)
class Budget:
    """Calls that may still be made for a generation, over all its processes."""

    calls_left: int = 8


@dataclass(frozen=True, slots=True)
class Retrying:
    """Attempt `attempt` of `of` follows in `wait_s` seconds, because of `error`."""

    attempt: int
    of: int
    wait_s: float
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class Finished:
    """A complete answer: the endpoint's finish reason and what it counted, if it did."""

    reason: str
    usage: Usage | None


type Step = events.Started | Retrying | events.Thinking | events.Delta | Finished


async def stream(
    target: Target,
    prompt: Prompt,
    *,
    client: Client,
    budget: Budget,
    policy: Policy = Policy(),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> AsyncGenerator[Step]:
    """Yield what happens on the way to one answer, its last step `Finished`.

    `Started` is yielded before each call is made, so that whoever consumes can count it first.
    Raises UpstreamError when it cannot be answered. Closing the iterator, or cancelling the task
    that reads it, closes the connection to the endpoint.
    """
    deadline = asyncio.get_running_loop().time() + target.timeouts.total_s
    started = 0
    waited_s = 0.0
    while True:
        if budget.calls_left < 1:
            raise errors.GaveUp("no calls left")
        started += 1
        budget.calls_left -= 1
        yield events.Started(model=target.model, attempt=started)
        has_text = False
        try:
            async with aclosing(_attempt(target, prompt, client, deadline)) as steps:
                async for step in steps:
                    has_text = has_text or isinstance(step, events.Delta | events.Thinking)
                    yield step
        except errors.UpstreamError as exc:
            calls_left = min(budget.calls_left, policy.calls_per_target - started)
            wait_s = exc.retry_after_s
            if wait_s is None:
                wait_s = policy.backoff_s(started, uniform)
            is_patient = wait_s <= policy.retry_after_max_s and waited_s + wait_s <= policy.backoff_total_s
            if has_text or not exc.retryable or calls_left < 1 or not is_patient:
                raise
            error = exc
        else:
            return
        yield Retrying(attempt=started + 1, of=started + calls_left, wait_s=wait_s, error=error)
        waited_s += wait_s
        await sleep(wait_s)


async def _attempt(
    target: Target, prompt: Prompt, client: Client, total_deadline: float
) -> AsyncGenerator[events.Thinking | events.Delta | Finished]:
    """Make one call and yield its text, one step per network read and kind. Raises UpstreamError."""
    reader = _Reader(target, total_deadline)
    call = Call(target.base_url, target.api_key, _body(target, prompt), target.timeouts.connect_s)
    try:
        async with AsyncExitStack() as stack:
            reads = await reader.within(stack.enter_async_context(client.open(call)))
            async for step in reader.steps(reads):
                yield step
    except errors.UpstreamError:
        if reader.finish_reason is None:
            raise
    yield reader.finished()


class _Reader:
    """Reads one answer: what it has said so far, and until when it must say more."""

    def __init__(self, target: Target, total_deadline: float) -> None:
        self._target = target
        self._total_deadline = total_deadline
        self._loop = asyncio.get_running_loop()
        self._progress_deadline = self._loop.time() + target.timeouts.first_token_s
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
        return errors.FirstTokenTimedOut(f"nothing for {self._target.timeouts.first_token_s:g} s")

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
        return Finished(self.finish_reason or "stop", self._usage)


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
    if target.max_output_tokens is not None:
        # OpenAI's newer models refuse the old name; most other servers know only that.
        name = "max_completion_tokens" if "api.openai.com" in target.base_url else "max_tokens"
        body[name] = target.max_output_tokens
    return body
