"""An endpoint without a network: each call is answered with given bytes, waits and errors."""

import asyncio
import json
from contextlib import asynccontextmanager

from chat import events, upstream
from chat.upstream import errors
from tests.support.clock import run_without_waiting
from tests.upstream.support import saying, shown

DONE = "data: [DONE]\n\n"


def event(value):
    return f"data: {json.dumps(value)}\n\n"


def piece(text=None, finish=None, **more):
    """Return an event with some text."""
    delta = {} if text is None else {"content": text}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


class ScriptedClient:
    """Answers call n with `answers[n]`, the last one again and again. Numbers are waits in seconds."""

    def __init__(self, answers):
        self._answers = answers
        self.calls = 0

    @asynccontextmanager
    async def open(self, request):
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        if isinstance(answer[0], int | float):
            await asyncio.sleep(answer[0])
            answer = answer[1:]
        yield self._reads(answer)

    async def _reads(self, answer):
        for item in answer:
            if isinstance(item, int | float):
                await asyncio.sleep(item)
            elif isinstance(item, Exception):
                raise item
            else:
                yield item.encode() if isinstance(item, str) else item


class Answer:
    """What one question led to."""

    def __init__(self, steps, error, calls, took_s):
        self.steps, self.error, self.calls, self.took_s = steps, error, calls, took_s
        self.text, self.thinking = shown(steps, events.Delta), shown(steps, events.Thinking)
        finished = [step for step in steps if isinstance(step, upstream.Finished)]
        self.reason = finished[0].reason if finished else None
        self.usage = finished[0].usage if finished else None


def answer_to(*answers, fallback=False, **limits):
    """Ask once, in no time, an endpoint that answers its calls like this."""
    return run_without_waiting(_ask(ScriptedClient(answers), fallback, limits))


async def _ask(client, has_fallback, limits):
    limits = upstream.Timeouts(**{"first_token_s": 60.0} | limits)
    route = [upstream.Target("http://a/v1", "k", "m", endpoint="a", timeouts=limits)]
    if has_fallback:
        route.append(upstream.Target("http://b/v1", "k", "n", endpoint="b", timeouts=limits))
    steps, error = [], None
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def text_so_far():
        return shown(steps, events.Delta)

    try:
        async for step in upstream.stream(
            route,
            saying("hello"),
            client=client,
            state=upstream.UpstreamState(clock=loop.time),
            budget=upstream.CallBudget(),
            text_so_far=text_so_far,
        ):
            steps.append(step)  # noqa: PERF401 - kept when an error follows
    except errors.UpstreamError as exc:
        error = exc
    return Answer(steps, error, client.calls, loop.time() - began_s)
