"""Get embeddings from one model: with slots, retries and the breaker, as for answers, but in one piece."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

import msgspec

from chat.upstream import errors, lenient, translate
from chat.upstream.client import Client, UpstreamRequest
from chat.upstream.fallback import Candidates
from chat.upstream.policy import DEFAULT_POLICY, AnswerDeadline, CallBudget, Policy
from chat.upstream.queue import QueuePriority
from chat.upstream.retry import Retries
from chat.upstream.state import UpstreamState
from chat.upstream.types import Target, Usage

PATH = "/embeddings"
# Two thousand texts with three thousand numbers of ten digits each.
ANSWER_MAX_BYTES = 128 * 1024 * 1024
QUEUE_POLL_S = 5.0
PROBE_GRACE_S = 5.0


class _Reply(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw(b"null")
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Reply).decode


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`data`: the JSON of the list of embeddings, as it was received. `calls`: how many it took."""

    data: msgspec.Raw
    usage: Usage | None
    calls: int


async def embed(
    target: Target,
    parameters: dict[str, Any],
    *,
    client: Client,
    state: UpstreamState,
    user: Hashable = None,
    policy: Policy = DEFAULT_POLICY,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Embeddings:
    """Return the embeddings that `parameters` (input, dimensions, …) ask for. Raises UpstreamError."""
    deadline = AnswerDeadline.after(target.timeouts.total_s)
    budget = CallBudget(policy.calls_per_target)
    retries = Retries(policy, budget, deadline, Candidates([target], state), sleep, uniform)
    body = {**parameters, "model": target.model}
    while True:
        try:
            reply = await _call_with_slot(target, body, client, state, user, budget, deadline)
        except errors.UpstreamError as exc:
            exc.target_key = target.key
            await retries.back_off(retries.wait_s(target, exc))
        else:
            return Embeddings(reply.data, lenient.usage_of(reply.usage), budget.calls_made[target.key])


async def _call_with_slot(
    target: Target,
    body: dict[str, Any],
    client: Client,
    state: UpstreamState,
    user: Hashable,
    budget: CallBudget,
    deadline: AnswerDeadline,
) -> _Reply:
    """Make one call with a permit of the breaker and a slot of the endpoint."""
    if paused_s := state.paused_s(target):
        raise errors.RateLimited("paused after a 429", retry_after_s=paused_s)
    loop = asyncio.get_running_loop()
    breaker = state.breaker(target)
    permit = breaker.try_acquire()
    if permit is None:
        raise errors.BreakerOpen(retry_after_s=None if breaker.is_held else breaker.wait_s)
    ticket = None
    try:
        entered_s = loop.time()
        ticket = state.admission(target).enter(QueuePriority.API, user)
        while not ticket.is_granted:
            await ticket.wait_for_change(poll_interval_s=QUEUE_POLL_S)
        deadline.extend(loop.time() - entered_s)
        permit = breaker.start_call(permit, outcome_within_s=target.timeouts.total_s + PROBE_GRACE_S)
        if permit is None:
            raise errors.BreakerOpen("it opened while the call waited", retry_after_s=breaker.wait_s)
        budget.calls_left -= 1
        budget.calls_made[target.key] += 1
        try:
            reply = await _call(target, body, client, deadline)
        except errors.UpstreamError as exc:
            if exc.counts_against:
                breaker.record_failure(permit)
            if isinstance(exc, errors.RateLimited) and exc.retry_after_s:
                state.pause(target, exc.retry_after_s, is_for_endpoint=exc.concerns_endpoint)
            raise
        breaker.record_success(permit)
        return reply
    finally:
        if ticket is not None:
            ticket.release()
        if permit is not None:
            breaker.release(permit)  # has no effect after an outcome


async def _call(target: Target, body: dict[str, Any], client: Client, deadline: AnswerDeadline) -> _Reply:
    request = UpstreamRequest(target.base_url, target.api_key, body, target.timeouts.connect_s, path=PATH)
    answer = bytearray()
    try:
        async with asyncio.timeout_at(deadline.at_s), client.open(request) as reads:
            async for data in reads:
                answer += data
                if len(answer) > ANSWER_MAX_BYTES:
                    raise errors.AnswerUnusable("the embeddings are too large")
    except TimeoutError:
        raise errors.TotalTimedOut(f"{target.timeouts.total_s:g} s") from None
    try:
        reply = _decode(bytes(answer))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise errors.NotAStream("no embeddings") from exc
    if reply.error:
        raise translate.from_stream(reply.error, target.api_key)
    if not bytes(reply.data).lstrip().startswith(b"["):
        raise errors.NotAStream("no embeddings")
    return reply
