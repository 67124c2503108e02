"""The same prompts by one pattern after the other, on a reader's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic
from uuid import uuid4

from channels.db import database_sync_to_async
from django.contrib.auth.models import AbstractUser

from chat import events
from chat.generation import prompt
from chat.generation.start import start_here
from chat.management.ask.process import runtime_for
from chat.models.api_request import ApiRequest
from chat.models.catalog import Model
from chat.models.conversation import Conversation
from chat.models.generation import MILLION, Generation
from chat.runtime.process import Runtime
from chat.usage import patterns
from chat.usage.patterns import Measured, Pattern, Sample

# Long enough that writing takes longer than beginning to write; short enough to be cheap.
ANSWER_MAX_TOKENS = 200
THINGS = ("a heap", "a mutex", "a hash table", "a B-tree", "a socket", "a cache", "a queue", "a trie")
QUESTION = "Explain what {} is to somebody who writes their first programs, in about a hundred words. ({})"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be asked: `prompts` by each of three patterns."""

    user: AbstractUser
    model: Model
    prompts: int
    concurrency: int

    @property
    def questions(self) -> list[str]:
        return [QUESTION.format(THINGS[n % len(THINGS)], n + 1) for n in range(self.prompts)]

    @property
    def calls(self) -> int:
        """Calls if none fails; one that fails is tried again."""
        return 3 * self.prompts

    @property
    def input_tokens(self) -> int:
        return 3 * sum(map(prompt.tokens_in, self.questions))

    @property
    def output_tokens(self) -> int:
        return self.calls * min(ANSWER_MAX_TOKENS, self.model.max_output_tokens or ANSWER_MAX_TOKENS)

    @property
    def cost_usd(self) -> Decimal | None:
        """What it costs at most, None where the model's row has no prices."""
        model = self.model
        if model.endpoint.is_embedded:
            return Decimal()
        if model.input_usd_per_million is None or model.output_usd_per_million is None:
            return None
        costs = model.input_usd_per_million * self.input_tokens
        return (costs + model.output_usd_per_million * self.output_tokens) / MILLION


@dataclass(frozen=True, slots=True)
class Result:
    """How one pattern did, and its throughput over the time it took in all."""

    pattern: Pattern
    measured: Measured
    answers_per_s: float
    tokens_per_s: float


async def run(plan: Plan, *, tell: Callable[[str], None]) -> list[Result]:
    """Ask all of it. Raises DatabaseError."""
    results = []
    async with runtime_for(plan.model) as runtime:
        # What the first answer would otherwise wait for is no property of its pattern.
        await asyncio.to_thread(runtime.client.prepare)
        for pattern, at_once in (
            (patterns.SYNC, 1),
            (patterns.ASYNC, plan.concurrency),
            (patterns.STREAMING, 1),
        ):
            tell(f"{pattern.label} …")
            results.append(await _run(runtime, plan, pattern, at_once))
    return results


async def _run(runtime: Runtime, plan: Plan, pattern: Pattern, at_once: int) -> Result:
    leave = asyncio.Semaphore(at_once)

    async def ask(question: str) -> Sample:
        async with leave:
            return await _ask(runtime, plan, pattern, question)

    began_s = monotonic()
    samples = await asyncio.gather(*map(ask, plan.questions))
    took_s = monotonic() - began_s
    complete = [sample for sample in samples if sample.is_complete]
    measured = patterns.measure(samples)
    assert measured is not None
    tokens = sum(sample.output_tokens or 0 for sample in complete)
    return Result(pattern, measured, len(complete) / took_s, tokens / took_s)


async def _ask(runtime: Runtime, plan: Plan, pattern: Pattern, question: str) -> Sample:
    request = ApiRequest([{"role": "user", "content": question}], {"max_tokens": ANSWER_MAX_TOKENS}).cleaned()
    began_s = monotonic()
    first_s: float | None = None
    accepted, run = await start_here(
        runtime.runner,
        plan.user,
        lambda: Conversation.ask_once(
            plan.user,
            request,
            model=plan.model,
            client_id=f"patterns-{pattern.name}-{uuid4().hex}",
            source=Generation.Source.COMMAND,
        ),
    )
    async for rows in runtime.log.follow(accepted.generation_id, is_about_to_start=True):
        if first_s is None and any(isinstance(events.decode(row.payload), events.Delta) for row in rows):
            first_s = monotonic() - began_s
    end_s = monotonic() - began_s
    await run
    answer = await database_sync_to_async(Generation.objects.get)(pk=accepted.generation_id)
    return Sample(
        is_complete=answer.status == Generation.Status.COMPLETED,
        first_s=first_s if pattern is patterns.STREAMING and first_s is not None else end_s,
        end_s=end_s,
        written_s=end_s - first_s if first_s is not None else None,
        output_tokens=answer.output_tokens,
        cost_usd=answer.cost_usd,
    )
