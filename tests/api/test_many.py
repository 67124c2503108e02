"""Two hundred API calls to an endpoint with fifty slots, and twenty chats beside them."""

import asyncio
import json
import threading

import openai
import pytest

from tests.api.test_native import send
from tests.support.programs import until
from tests.support.socket_client import ask

CALLS, CHATS, SLOTS, PROGRAM_SLOTS = 200, 20, 50, 30
LIMITS = {
    "CHATSITE_RUNNING_PER_USER": "1000",
    "CHATSITE_RUNNING_PER_KEY": "1000",
    "CHATSITE_API_RUNNING_PER_USER": "1000",
}
# The first delta comes at once, the last after a second.
TEXT = "call {} [[deltas=9 rate=8]]"
READ = """
import json
from chat.models import Attempt
rows = Attempt.objects.select_related("generation").order_by("started_at")
print(json.dumps([
    [row.generation.source, row.started_at.timestamp() - row.queued_s, row.started_at.timestamp(),
     row.finished_at.timestamp()]
    for row in rows
]))
"""
COUNT = "from chat.models import Generation; print(Generation.objects.filter({}).count())"


async def call_all(api):
    async with api.async_client(timeout=60) as client:
        calls = (
            client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": TEXT.format(n)}], stream=bool(n % 2)
            )
            for n in range(CALLS)
        )
        return await asyncio.gather(*map(whole, calls), return_exceptions=True)


async def whole(call):
    """Return the finish reason, of a stream too."""
    reply = await call
    if isinstance(reply, openai.AsyncStream):
        reasons = [chunk.choices[0].finish_reason async for chunk in reply if chunk.choices]
        return reasons[-1]
    return reply.choices[0].finish_reason


def most_at_once(records):
    moments = sorted([(each["at_s"], 1) for each in records] + [(each["ended_s"], -1) for each in records])
    now = most = 0
    for _at_s, change in moments:
        now += change
        most = max(most, now)
    return most


@pytest.mark.thorough
def test_api_calls_fill_their_share_of_the_slots_and_chats_do_not_wait_for_them(api):
    api = api(**LIMITS)
    api.server.query(f"from chat.models import Endpoint; Endpoint.objects.update(slots={SLOTS})")
    replies = []
    calling = threading.Thread(target=lambda: replies.extend(asyncio.run(call_all(api))))
    calling.start()
    until(lambda: len(api.requests()) >= PROGRAM_SLOTS, "the slots of programs to be full", deadline_s=30)
    with api.server.sign_in().socket() as socket:
        for n in range(CHATS):
            ask(socket, TEXT.format(f"of chat {n}"))
        done = "source='websocket', status='completed'"
        until(lambda: int(api.server.query(COUNT.format(done))) == CHATS, "the chats", deadline_s=60)
    calling.join(60)
    assert replies == ["stop"] * CALLS
    records = api.requests()
    assert most_at_once(records) <= SLOTS
    assert most_at_once([each for each in records if "of chat" not in each["question"]]) == PROGRAM_SLOTS
    attempts = json.loads(api.server.query(READ))
    chats = [row for row in attempts if row[0] == "websocket"]
    assert len(chats) == CHATS
    for _source, queued_at, begun_at, _ended_at in chats:
        # Calls that ended while this one waited: those in flight, and the chats before it.
        waited_for = [row for row in attempts if queued_at < row[3] < begun_at]
        before = [row for row in chats if row[1] < queued_at]
        assert len(waited_for) <= SLOTS + len(before)


def test_no_call_of_a_key_is_lost_above_its_limit(api):
    """As `asyncio.gather` with the official client's defaults."""
    api = api()

    async def call(client, number):
        text = TEXT.format(f"{number} of the key").replace("rate=8", "rate=40")
        return await whole(
            client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": text}], stream=bool(number % 2)
            )
        )

    async def call_all_at_once():
        async with openai.AsyncOpenAI(base_url=api.base_url, api_key=api.key) as client:
            return await asyncio.gather(*(call(client, number) for number in range(300)))

    assert asyncio.run(call_all_at_once()) == ["stop"] * 300
    records = api.requests()
    assert len(records) == 300
    assert 15 <= most_at_once(records) <= 20


def test_a_call_that_would_wait_longer_than_its_client_is_refused_at_once(api):
    api = api(CHATSITE_RUNNING_PER_KEY="1", CHATSITE_API_WAIT_MAX_S="6")
    held = send(
        api,
        "POST",
        "/chat/completions",
        {
            "model": "fake",
            "background": True,
            "messages": [{"role": "user", "content": "hello [[hold=gate after=3]]"}],
        },
    )
    assert held[0] == 202
    with pytest.raises(openai.RateLimitError) as caught:
        api.client().chat.completions.create(model="fake", messages=[{"role": "user", "content": "hello"}])
    assert caught.value.code == "too_many_running"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 10
    assert caught.value.response.reason_phrase == "Too Many Requests"
