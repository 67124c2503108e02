"""Two hundred API calls to an endpoint with fifty slots, and twenty chats beside them."""

import asyncio
import json
import threading

import openai

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


def test_api_calls_fill_their_share_of_the_slots_and_chats_do_not_wait_for_them(api):
    api = api(**LIMITS)
    api.server.shell(f"from chat.models import Endpoint; Endpoint.objects.update(slots={SLOTS})")
    replies = []
    calling = threading.Thread(target=lambda: replies.extend(asyncio.run(call_all(api))))
    calling.start()
    until(lambda: len(api.requests()) >= PROGRAM_SLOTS, "the slots of programs to be full", deadline_s=30)
    with api.server.sign_in().socket() as socket:
        for n in range(CHATS):
            ask(socket, TEXT.format(f"of chat {n}"))
        done = "source='websocket', status='completed'"
        until(lambda: int(api.server.shell(COUNT.format(done))) == CHATS, "the chats", deadline_s=60)
    calling.join(60)
    assert replies == ["stop"] * CALLS
    records = api.requests()
    assert most_at_once(records) <= SLOTS
    assert most_at_once([each for each in records if "of chat" not in each["question"]]) == PROGRAM_SLOTS
    attempts = json.loads(api.server.shell(READ))
    chats = [row for row in attempts if row[0] == "websocket"]
    assert len(chats) == CHATS
    for _source, queued_at, begun_at, _ended_at in chats:
        # Calls that ended while this one waited: those in flight, and the chats before it.
        waited_for = [row for row in attempts if queued_at < row[3] < begun_at]
        before = [row for row in chats if row[1] < queued_at]
        assert len(waited_for) <= SLOTS + len(before)


def test_calls_beyond_the_limits_of_their_key_are_rejected(api):
    api = api(CHATSITE_RUNNING_PER_KEY="5")
    replies = asyncio.run(call_all(api))
    refused = [reply for reply in replies if isinstance(reply, openai.RateLimitError)]
    assert replies.count("stop") + len(refused) == CALLS
    assert replies.count("stop") >= 5
    assert {error.code for error in refused} == {"too_many_running"}
    assert most_at_once(api.requests()) <= 5
