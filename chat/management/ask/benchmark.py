"""Run the same prompts by several execution patterns, and measure them as a client sees them."""

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
from chat.models.generation import Generation
from chat.models.prices import MILLION
from chat.runtime.process import Runtime
from chat.usage import patterns
from chat.usage.patterns import Measured, Pattern, Sample

# Long enough that generation takes longer than the time to the first text; short enough to be cheap.
ANSWER_MAX_TOKENS = 200
TOPICS = ("a heap", "a mutex", "a hash table", "a B-tree", "a socket", "a cache", "a queue", "a trie")
PROMPT = "Explain what {} is to a beginning programmer, in about a hundred words. ({})"


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """The work of a benchmark: `prompts` prompts by each of three patterns."""

    user: AbstractUser
    model: Model
    prompts: int
    concurrency: int

    @property
    def texts(self) -> list[str]:
        return [PROMPT.format(TOPICS[n % len(TOPICS)], n + 1) for n in range(self.prompts)]

    @property
    def calls(self) -> int:
        """The number of calls without retries."""
        return 3 * self.prompts

    @property
    def input_tokens(self) -> int:
        return 3 * sum(map(prompt.tokens_in, self.texts))

    @property
    def output_tokens(self) -> int:
        return self.calls * min(ANSWER_MAX_TOKENS, self.model.max_output_tokens or ANSWER_MAX_TOKENS)

    @property
    def cost_usd(self) -> Decimal | None:
        """The maximum cost without retries; None if the model has no prices."""
        model = self.model
        if model.endpoint.is_embedded:
            return Decimal()
        if model.input_usd_per_million is None or model.output_usd_per_million is None:
            return None
        costs = model.input_usd_per_million * self.input_tokens
        return (costs + model.output_usd_per_million * self.output_tokens) / MILLION


@dataclass(frozen=True, slots=True)
class PatternResult:
    """The measurements of one pattern, and its throughput over its total time."""

    pattern: Pattern
    measured: Measured
    answers_per_s: float
    tokens_per_s: float


async def run(plan: BenchmarkPlan, *, report: Callable[[str], None]) -> list[PatternResult]:
    """Run all prompts by each pattern. Raises DatabaseError."""
    results = []
    async with runtime_for(plan.model) as runtime:
        # Otherwise the first answer would also measure the import of the SDK.
        await asyncio.to_thread(runtime.client.prepare)
        for pattern, concurrency in (
            (patterns.SYNC, 1),
            (patterns.ASYNC, plan.concurrency),
            (patterns.STREAMING, 1),
        ):
            report(f"{pattern.label}…")
            results.append(await _run_pattern(runtime, plan, pattern, concurrency))
    return results


async def _run_pattern(
    runtime: Runtime, plan: BenchmarkPlan, pattern: Pattern, concurrency: int
) -> PatternResult:
    slots = asyncio.Semaphore(concurrency)

    async def run_one(text: str) -> Sample:
        async with slots:
            return await _measure(runtime, plan, pattern, text)

    started_s = monotonic()
    samples = await asyncio.gather(*map(run_one, plan.texts))
    total_s = monotonic() - started_s
    complete = [sample for sample in samples if sample.is_complete]
    measured = patterns.measure(samples)
    assert measured is not None
    tokens = sum(sample.output_tokens or 0 for sample in complete)
    return PatternResult(pattern, measured, len(complete) / total_s, tokens / total_s)


async def _measure(runtime: Runtime, plan: BenchmarkPlan, pattern: Pattern, text: str) -> Sample:
    request = ApiRequest([{"role": "user", "content": text}], {"max_tokens": ANSWER_MAX_TOKENS}).cleaned()
    started_s = monotonic()
    first_s: float | None = None
    started, run = await start_here(
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
    async for rows in runtime.log.follow(started.generation_id, is_about_to_start=True):
        if first_s is None and any(isinstance(events.decode(row.payload), events.Delta) for row in rows):
            first_s = monotonic() - started_s
    end_s = monotonic() - started_s
    if run is not None:
        await run
    generation = await database_sync_to_async(Generation.objects.get)(pk=started.generation_id)
    return Sample(
        is_complete=generation.status == Generation.Status.COMPLETED,
        first_s=first_s if pattern is patterns.STREAMING and first_s is not None else end_s,
        end_s=end_s,
        generating_s=end_s - first_s if first_s is not None else None,
        output_tokens=generation.output_tokens,
        cost_usd=generation.cost_usd,
    )
