"""An outage of a minute with fifty users: how many are answered, and how many calls it costs.

At full length on a loop where waiting takes no time, against a scripted client; then at a fortieth of the
length against the fake provider on a real socket. Seeded; a failure names its seed.
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
from tests.support.clock import run_without_waiting
from tests.upstream.support import saying

USERS = 50


@dataclass
class Users:
    """Fifty users of one model, and what happened to their answers."""

    client: object
    route: list
    state: upstream.UpstreamState
    policy: upstream.Policy
    rng: random.Random
    answered_s: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    # The users that were shown a wait.
    shown_wait: set = field(default_factory=set)

    async def user(self, n, asks_after_s):
        await asyncio.sleep(asks_after_s)
        steps = upstream.stream(
            self.route,
            saying(f"question {n}"),
            client=self.client,
            state=self.state,
            budget=upstream.CallBudget(),
            policy=self.policy,
            user=n,
            uniform=self.rng.uniform,
        )
        try:
            async with aclosing(steps):
                async for step in steps:
                    if isinstance(step, upstream.RetryingStep):
                        self.shown_wait.add(n)
        except errors.UpstreamError as exc:
            self.failed.append(exc)
        else:
            self.answered_s.append(asyncio.get_running_loop().time())

    async def run(self, asks_after_s):
        await asyncio.gather(*[self.user(n, after_s) for n, after_s in enumerate(asks_after_s)])


class ScriptedClient:
    """A provider without a socket: fails from `from_s` to `to_s`, answers otherwise."""

    def __init__(self, rng, from_s, to_s, how):
        self._rng, self._from_s, self._to_s, self._how = rng, from_s, to_s, how
        self.calls, self.first_failure_s, self.state = [], None, None
        self.probing = self.most_probing = 0

    @asynccontextmanager
    async def open(self, request):
        now_s = asyncio.get_running_loop().time
        self.calls.append(now_s())
        is_probe = self.state.breakers()[0].state is BreakerState.HALF_OPEN
        self.probing += is_probe
        self.most_probing = max(self.most_probing, self.probing)
        try:
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))
            if self._from_s <= now_s() < self._to_s:
                await self._fail(now_s)
            yield self._answer()
        finally:
            self.probing -= is_probe

    async def _fail(self, now_s):
        how = self._how if self._how != "mixed" else self._rng.choice(["503", "reset", "silent"])
        if how == "silent":
            await asyncio.sleep(3600)
        self.first_failure_s = self.first_failure_s or now_s()
        raise errors.ServerFailed(status=503) if how == "503" else errors.Unreachable()

    async def _answer(self):
        for n in range(5):
            yield b"data: " + json.dumps({"choices": [{"delta": {"content": f"{n} "}}]}).encode() + b"\n\n"
            await asyncio.sleep(self._rng.uniform(0.1, 1))
        yield b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def all_at_once(rng):
    return [0.0] * USERS


def over_the_outage(rng):
    return sorted(rng.uniform(0, 60) for _n in range(USERS))


def before_and_during(rng):
    return sorted(rng.uniform(-5, 30) for _n in range(USERS))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["503", "reset"])
@pytest.mark.parametrize("arrivals", [all_at_once, over_the_outage, before_and_during])
def test_an_outage_of_a_minute_loses_few_answers_and_makes_few_calls(arrivals, how, seed):
    async def main():
        rng, now_s = random.Random(seed), asyncio.get_running_loop().time
        client = ScriptedClient(rng, from_s=10, to_s=70, how=how)
        client.state = upstream.UpstreamState(clock=now_s, uniform=rng.uniform)
        route = [upstream.Target("http://x", "", "m", endpoint="x")]
        users = Users(client, route, client.state, upstream.Policy(), rng)
        await users.run([10 + after_s for after_s in arrivals(rng)])
        return users, client

    users, client = run_without_waiting(main())
    calls = [when_s for when_s in client.calls if when_s >= client.first_failure_s]
    in_time = [when_s for when_s in users.answered_s if when_s <= 70 + 60]
    print(f"{arrivals.__name__} {how} {seed}: {len(calls)} calls, {len(in_time)} answered in time")
    assert len(calls) <= 1.2 * USERS
    assert len(in_time) >= 0.95 * USERS
    assert client.most_probing <= 1
    assert users.state.breakers()[0].waiting == 0
    assert users.state.endpoints()[0].running == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["silent", "mixed"])
def test_a_minute_of_silence_loses_few_answers(how, seed):
    async def main():
        rng, now_s = random.Random(seed), asyncio.get_running_loop().time
        client = ScriptedClient(rng, from_s=10, to_s=70, how=how)
        client.state = upstream.UpstreamState(clock=now_s, uniform=rng.uniform)
        route = [upstream.Target("http://x", "", "m", endpoint="x")]
        users = Users(client, route, client.state, upstream.Policy(), rng)
        await users.run([10 + after_s for after_s in all_at_once(rng)])
        return users, client

    users, client = run_without_waiting(main())
    assert len([when_s for when_s in users.answered_s if when_s <= 70 + 60]) >= 0.95 * USERS
    assert client.most_probing <= 1


@pytest.mark.parametrize("seed", range(2))
async def test_the_same_on_a_real_socket_at_a_fortieth_of_the_time(seed):
    rng = random.Random(seed)
    policy = upstream.Policy(backoff_first_s=0.5 / 40, backoff_cap_s=8 / 40, backoff_total_s=60 / 40)
    state = upstream.UpstreamState(
        upstream.BreakerPolicy(window_s=60 / 40, open_s=15 / 40), uniform=rng.uniform
    )
    loop = asyncio.get_running_loop()
    async with FakeProvider(rate=0) as provider:
        client = upstream.Client()
        client.prepare()
        provider.script("down", for_s=60 / 40)
        end_s = loop.time() + 60 / 40
        users = Users(
            client, [upstream.Target(provider.base_url, "k", "fake", endpoint="x")], state, policy, rng
        )
        await users.run([after_s / 40 for after_s in over_the_outage(rng)])
        await client.close()
        records = provider.requests
    first_failure_s = min(record.ended_s for record in records if record.status == 503)
    calls = [record for record in records if record.at_s >= first_failure_s]
    in_time = [when_s for when_s in users.answered_s if when_s <= end_s + 60 / 40]
    print(f"{seed}: {len(calls)} calls, {len(in_time)} answered in time, {len(users.shown_wait)} saw a wait")
    assert len(calls) <= 1.2 * USERS
    assert len(in_time) >= 0.95 * USERS
