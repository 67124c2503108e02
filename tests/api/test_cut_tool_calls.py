"""Provider streams that break inside tool calls, at random places, seen by programs through a real server.

Each program gets whole calls or an error: never half a call, never one call twice. CHAOS_TOOL_CUTS=200 is
the long form (docs/chaos.md), CHAOS_SEED repeats a run.
"""

import asyncio
import collections
import json
import os
import random

import openai
from asgiref.sync import sync_to_async

from tests.api.test_faults import QUICK
from tests.api.test_tools import ARGUMENTS, FORECAST
from tests.support.environment import repeats
from tests.support.provider_control import requests_of

CUTS = int(os.environ.get("CHAOS_TOOL_CUTS") or repeats(125))
SEED = os.environ.get("CHAOS_SEED", "1")
CONCURRENCY = 6
FAULTS = ("cut", "drop", "reset", "malformed", "error", "event_error")
# Two calls have twelve pieces; before them there can be text.
PIECES, TEXT_PIECES = 12, 4
# Not the same calls again, but a text: what was shown of the calls cannot be taken back.
DIFFERENTLY = "[[tool_calls=2 times=1]]"
FLAT = {"type": "function", **FORECAST["function"]}
LIMITS = {
    "CHATSITE_ASKS_PER_MINUTE_PER_KEY": "100000",
}


def question(rng, number):
    calls = DIFFERENTLY if rng.random() < 0.2 else "[[tool_calls=2]]"
    text = f"[[text_first deltas={TEXT_PIECES} rate=0]]" if rng.random() < 0.4 else "[[rate=0]]"
    last = PIECES + (TEXT_PIECES if "text_first" in text else 0)
    # Two recoveries are allowed, so the third break ends an answer.
    faults = [
        f"[[{rng.choice(FAULTS)} after={rng.randrange(last + 1)} on={on}]]"
        for on in range(1, rng.choice([1, 1, 1, 2, 3]) + 1)
    ]
    return f"Weather {number}? {calls} {text} {' '.join(faults)}"


async def plain(client, text):
    done = await client.chat.completions.create(model="fake", messages=asked(text), tools=[FORECAST])
    return calls_of(done.choices[0].message.tool_calls), done.choices[0].finish_reason


async def stream(client, text):
    chunks = await client.chat.completions.create(
        model="fake", messages=asked(text), tools=[FORECAST], stream=True
    )
    calls, reason = {}, None
    async for chunk in chunks:
        assert reason is None, "something follows the end"
        choice = chunk.choices[0]
        for piece in choice.delta.tool_calls or ():
            if piece.id:
                assert piece.index not in calls, "a call began twice"
                calls[piece.index] = (piece.id, piece.function.name, "")
            call_id, name, arguments = calls[piece.index]
            calls[piece.index] = (call_id, name, arguments + (piece.function.arguments or ""))
        reason = choice.finish_reason
    assert reason, "the stream ended without a finish reason and without an error"
    return list(calls.values()), reason


async def response(client, text):
    done = await client.responses.create(model="fake", input=text, tools=[FLAT])
    return items_of(done)


async def response_stream(client, text):
    async with client.responses.stream(model="fake", input=text, tools=[FLAT]) as events:
        async for _event in events:
            pass
        done = await events.get_final_response()
    return items_of(done)


async def background(client, text):
    done = await client.responses.create(model="fake", input=text, tools=[FLAT], background=True)
    async with await client.responses.retrieve(done.id, stream=True) as events:
        last = [event async for event in events][-1]
    assert last.type in ("response.completed", "response.failed"), last
    return items_of(last.response)


def asked(text):
    return [{"role": "user", "content": text}]


def calls_of(calls):
    return [(call.id, call.function.name, call.function.arguments) for call in calls or ()]


def items_of(done):
    if done.status != "completed":
        raise openai.OpenAIError(done.error.code)
    calls = [
        (each.call_id, each.name, each.arguments) for each in done.output if each.type == "function_call"
    ]
    return calls, "tool_calls" if calls else "stop"


async def outcome_of(client, way, text):
    """Return what a program saw, after checking it."""
    try:
        calls, reason = await way(client, text)
    except (openai.OpenAIError, RuntimeError):  # the helper's, for a stream without a completed response
        return "an error"
    if DIFFERENTLY in text and not calls:
        assert reason == "stop", (text, reason)
        return "a text"
    assert reason == "tool_calls", (text, reason)
    assert [(name, json.loads(arguments)) for _id, name, arguments in calls] == [
        ("forecast", each) for each in ARGUMENTS
    ], text
    assert len({call_id for call_id, _name, _arguments in calls}) == len(calls), text
    return "whole calls"


async def test_calls_are_whole_or_the_program_is_told(api):
    api = await sync_to_async(api)(**QUICK, **LIMITS)
    rng, slots = random.Random(SEED), asyncio.Semaphore(CONCURRENCY)
    ways = (plain, stream, response, response_stream, background)
    plan = [(ways[number % len(ways)], question(rng, number)) for number in range(CUTS)]

    async def run(way, text):
        async with slots:
            return way.__name__, await outcome_of(client, way, text)

    async with api.async_client() as client:
        seen = collections.Counter(await asyncio.gather(*(run(*each) for each in plan)))
    calls = len(requests_of(api.provider))
    print(f"seed {SEED}: {CUTS} requests, {calls} calls of the provider, {sorted(seen.items())}")
    assert calls > 1.5 * CUTS  # each first call broke, and most were repeated
    whole = sum(count for (_way, outcome), count in seen.items() if outcome == "whole calls")
    assert whole > CUTS / 2
