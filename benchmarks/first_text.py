"""Measure from the provider's first delta to the first text at a socket, and the same with the bare SDK.

    python -m benchmarks.first_text

Provider, SDK and socket client share this process's event loop and so one clock; the server is a separate
process. One question at a time, alternately through Chatsite and the SDK.
"""

import asyncio
import time

from openai import AsyncOpenAI

from benchmarks import environment, report
from benchmarks.client import open_client
from chat.fakeprovider import FakeProvider

QUESTIONS = 20
# The pause keeps the end of one answer away from the first delta of the next one.
BEHAVIOUR = "[[deltas=10 rate=100 first_s=0.1]]"


async def through_sdk(client: AsyncOpenAI, text: str) -> tuple[float, float]:
    """Ask the provider; return when the question was sent and when the first text arrived."""
    sent, first = time.monotonic(), 0.0
    messages = [{"role": "user", "content": text}]
    stream = await client.chat.completions.create(model="fake", messages=messages, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.monotonic()
    return sent, first


async def measure() -> None:
    ours: list[float] = []
    sdk: list[float] = []
    ours_whole: list[float] = []
    sdk_whole: list[float] = []
    async with FakeProvider() as provider:

        def first_delta() -> float:
            record = provider.requests[-1]
            assert record.first_delta_s is not None
            # The journal counts from the provider's start, on the same clock.
            return record.first_delta_s - provider.journal.now_s() + time.monotonic()

        with environment.server(provider.base_url) as site:
            (session,) = await asyncio.to_thread(environment.sign_in_many, site, 1)
            sdk_client = AsyncOpenAI(base_url=provider.base_url, api_key="any", max_retries=0)
            async with sdk_client, open_client(session) as client:
                for number in range(QUESTIONS + 2):
                    answer = await client.ask(f"ours {number} {BEHAVIOUR}")
                    assert answer.outcome == "completed", answer.outcome
                    assert answer.first_text is not None
                    at_provider = first_delta()
                    sent, first = await through_sdk(sdk_client, f"sdk {number} {BEHAVIOUR}")
                    if number < 2:  # warm-up
                        continue
                    ours.append(answer.first_text - at_provider)
                    ours_whole.append(answer.first_text - answer.sent - 0.1)
                    sdk.append(first - first_delta())
                    sdk_whole.append(first - sent - 0.1)
    report.table(
        f"First text, {QUESTIONS} questions",
        [
            ("first delta at the provider → text at a socket", report.spread(ours), "≤ 50 ms (median)"),
            ("the same, bare OpenAI SDK", report.spread(sdk), ""),
            ("question sent → text, without the model's time", report.spread(ours_whole), ""),
            ("the same, bare OpenAI SDK", report.spread(sdk_whole), ""),
        ],
    )


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
