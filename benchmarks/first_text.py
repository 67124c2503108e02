"""From the provider's first delta to the first text in a browser's socket, beside the bare SDK.

    python -m benchmarks.first_text

Provider, SDK and socket client share this process's loop and so one clock; the server is a process of
its own. One question at a time, the two ways in turn.
"""

import asyncio
import time

from openai import AsyncOpenAI

from benchmarks import stage
from chat.fakeprovider import FakeProvider

QUESTIONS = 20
# Long enough that the end of one answer is not in the way of the next one's first delta.
BEHAVIOUR = "[[deltas=10 rate=100 first_s=0.1]]"


async def through_sdk(client: AsyncOpenAI, text: str) -> tuple[float, float]:
    """Ask the provider; return when it was asked and when the first text was there."""
    asked, first = time.monotonic(), 0.0
    messages = [{"role": "user", "content": text}]
    stream = await client.chat.completions.create(model="fake", messages=messages, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.monotonic()
    return asked, first


async def measure() -> None:
    ours: list[float] = []
    sdk: list[float] = []
    ours_whole: list[float] = []
    sdk_whole: list[float] = []
    async with FakeProvider() as provider:

        def first_delta() -> float:
            record = provider.requests[-1]
            assert record.first_delta_s is not None
            # The journal counts from the provider's start on the same clock.
            return record.first_delta_s - provider.journal.now_s() + time.monotonic()

        with stage.server(provider.base_url) as site:
            (session,) = await asyncio.to_thread(stage.people, site, 1)
            client = AsyncOpenAI(base_url=provider.base_url, api_key="any", max_retries=0)
            async with client, stage.page(session) as page:
                for number in range(QUESTIONS + 2):
                    answer = await page.ask(f"ours {number} {BEHAVIOUR}")
                    assert answer.outcome == "completed", answer.outcome
                    assert answer.first_text is not None
                    at_provider = first_delta()
                    asked, first = await through_sdk(client, f"sdk {number} {BEHAVIOUR}")
                    if number < 2:  # both warm up
                        continue
                    ours.append(answer.first_text - at_provider)
                    ours_whole.append(answer.first_text - answer.asked - 0.1)
                    sdk.append(first - first_delta())
                    sdk_whole.append(first - asked - 0.1)
    stage.table(
        f"First text, {QUESTIONS} questions",
        [
            ("first delta at the provider → text at a socket", stage.spread(ours), "≤ 50 ms (median)"),
            ("the same, bare OpenAI SDK", stage.spread(sdk), ""),
            ("question sent → text, without the model's own time", stage.spread(ours_whole), ""),
            ("the same, bare OpenAI SDK", stage.spread(sdk_whole), ""),
        ],
    )


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
