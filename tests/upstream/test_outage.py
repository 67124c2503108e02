"""A minute's outage with fifty people: who is answered, and what it costs the provider.

In true figures on a loop where a minute takes no time, against a scripted client; then at a fortieth of
the time against the fake provider on a real socket. Seeded; a failure names its seed.
"""

import asyncio
import json
import random
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from chat import upstream
from chat.fakeprovider import FakeProvider
from chat.upstream import errors
from chat.upstream.breaker import BreakerState
from tests.support.clock import warped
from tests.upstream.test_stream import saying

PEOPLE = 50


@dataclass
class Town:
    """Fifty people at one model, and what became of them."""

    client: object
    route: list
    state: upstream.UpstreamState
    policy: upstream.Policy
    dice: random.Random
    answered_s: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    # Who waited, and was told so.
    told: set = field(default_factory=set)

    async def person(self, n, asks_after_s):
        await asyncio.sleep(asks_after_s)
        steps = upstream.stream(
            self.route,
            saying(f"question {n}"),
            client=self.client,
            state=self.state,
            budget=upstream.Budget(),
            policy=self.policy,
            user=n,
            uniform=self.dice.uniform,
        )
        try:
            async with aclosing(steps):
                async for step in steps:
                    if isinstance(step, upstream.RetryingStep):
                        self.told.add(n)
        except errors.UpstreamError as exc:
            self.failed.append(exc)
        else:
            self.answered_s.append(asyncio.get_running_loop().time())

    async def live(self, asks_after_s):
        await asyncio.gather(*[self.person(n, after_s) for n, after_s in enumerate(asks_after_s)])


class Scripted:
    """A provider without a socket: fails from `from_s` to `to_s`, answers otherwise."""

    def __init__(self, dice, from_s, to_s, how):
        self._dice, self._from_s, self._to_s, self._how = dice, from_s, to_s, how
        self.calls, self.first_failure_s, self.state = [], None, None
        self.probing = self.most_probing = 0

    @asynccontextmanager
    async def open(self, call):
        now_s = asyncio.get_running_loop().time
        self.calls.append(now_s())
        is_probe = self.state.breakers()[0].state is BreakerState.HALF_OPEN
        self.probing += is_probe
        self.most_probing = max(self.most_probing, self.probing)
        try:
            await asyncio.sleep(self._dice.uniform(0.05, 0.5))
            if self._from_s <= now_s() < self._to_s:
                await self._fail(now_s)
            yield self._answer()
        finally:
            self.probing -= is_probe

    async def _fail(self, now_s):
        how = self._how if self._how != "mixed" else self._dice.choice(["503", "reset", "silent"])
        if how == "silent":
            await asyncio.sleep(3600)
        self.first_failure_s = self.first_failure_s or now_s()
        raise errors.ServerFailed(status=503) if how == "503" else errors.Unreachable()

    async def _answer(self):
        for n in range(5):
            yield b"data: " + json.dumps({"choices": [{"delta": {"content": f"{n} "}}]}).encode() + b"\n\n"
            await asyncio.sleep(self._dice.uniform(0.1, 1))
        yield b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def all_at_once(dice):
    return [0.0] * PEOPLE


def over_the_outage(dice):
    return sorted(dice.uniform(0, 60) for _n in range(PEOPLE))


def before_and_during(dice):
    return sorted(dice.uniform(-5, 30) for _n in range(PEOPLE))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["503", "reset"])
@pytest.mark.parametrize("arrivals", [all_at_once, over_the_outage, before_and_during])
def test_a_minutes_outage_loses_next_to_nobody_and_hammers_nobody(arrivals, how, seed):
    async def main():
        dice, now_s = random.Random(seed), asyncio.get_running_loop().time
        client = Scripted(dice, from_s=10, to_s=70, how=how)
        client.state = upstream.UpstreamState(clock=now_s, uniform=dice.uniform)
        route = [upstream.Target("http://x", "", "m", endpoint="x")]
        town = Town(client, route, client.state, upstream.Policy(), dice)
        await town.live([10 + after_s for after_s in arrivals(dice)])
        return town, client

    town, client = warped(main())
    calls = [when_s for when_s in client.calls if when_s >= client.first_failure_s]
    in_time = [when_s for when_s in town.answered_s if when_s <= 70 + 60]
    print(f"{arrivals.__name__} {how} {seed}: {len(calls)} calls, {len(in_time)} answered in time")
    assert len(calls) <= 1.2 * PEOPLE
    assert len(in_time) >= 0.95 * PEOPLE
    assert client.most_probing <= 1
    assert town.state.breakers()[0].waiting == 0
    assert town.state.endpoints()[0].running == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["silent", "mixed"])
def test_a_minute_of_silence_is_outlasted_as_well(how, seed):
    async def main():
        dice, now_s = random.Random(seed), asyncio.get_running_loop().time
        client = Scripted(dice, from_s=10, to_s=70, how=how)
        client.state = upstream.UpstreamState(clock=now_s, uniform=dice.uniform)
        route = [upstream.Target("http://x", "", "m", endpoint="x")]
        town = Town(client, route, client.state, upstream.Policy(), dice)
        await town.live([10 + after_s for after_s in all_at_once(dice)])
        return town, client

    town, client = warped(main())
    assert len([when_s for when_s in town.answered_s if when_s <= 70 + 60]) >= 0.95 * PEOPLE
    assert client.most_probing <= 1


@pytest.mark.parametrize("seed", range(2))
async def test_the_same_on_a_real_socket_at_a_fortieth_of_the_time(seed):
    dice = random.Random(seed)
    policy = upstream.Policy(backoff_first_s=0.5 / 40, backoff_cap_s=8 / 40, backoff_total_s=60 / 40)
    state = upstream.UpstreamState(
        upstream.BreakerPolicy(window_s=60 / 40, open_s=15 / 40), uniform=dice.uniform
    )
    loop = asyncio.get_running_loop()
    async with FakeProvider(rate=0) as provider:
        client = upstream.Client()
        client.prepare()
        provider.script("down", for_s=60 / 40)
        end_s = loop.time() + 60 / 40
        town = Town(
            client, [upstream.Target(provider.base_url, "k", "fake", endpoint="x")], state, policy, dice
        )
        await town.live([after_s / 40 for after_s in over_the_outage(dice)])
        await client.close()
        records = provider.requests
    first_failure_s = min(record.ended_s for record in records if record.status == 503)
    calls = [record for record in records if record.at_s >= first_failure_s]
    in_time = [when_s for when_s in town.answered_s if when_s <= end_s + 60 / 40]
    print(f"{seed}: {len(calls)} calls, {len(in_time)} answered in time, {len(town.told)} were told to wait")
    assert len(calls) <= 1.2 * PEOPLE
    assert len(in_time) >= 0.95 * PEOPLE
