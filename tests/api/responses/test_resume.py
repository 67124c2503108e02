"""A stream of a response can be left and taken up at any event, by anybody, at any time."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.api.responses.support import (
    FULL,
    begin,
    blocks_of,
    events_in,
    followed,
    number_of,
    open_stream,
)
from tests.api.test_native import send
from tests.support.environment import repeats
from tests.support.programs import until
from tests.support.provider_control import release

PRUNE = "from chat.event_log.read import prune; prune({})"
CUTS = repeats(1000)


# About five of the ten deltas before the gate.
TEXT_BEFORE_CHARS = 20


def text_in(stream):
    """Return the text of the events that are whole."""
    blocks = blocks_of(stream.rpartition(b"\n\n")[0])
    deltas = [block for block in blocks if block.startswith(b"event: response.output_text.delta\n")]
    return "".join(json.loads(block.partition(b"\ndata: ")[2])["delta"] for block in deltas)


def begun(reply):
    """Read a stream until it has that much text; how many events it takes is a matter of load."""
    stream = b""
    while len(text_in(stream)) < TEXT_BEFORE_CHARS:
        piece = reply.read1()
        assert piece, stream[-500:]
        stream += piece
    return stream


def behind(events, number):
    return [block for each, block in events.items() if each > number]


def followed_from_everywhere(api, response_id, numbers, **options):
    with ThreadPoolExecutor(8) as pool:
        streams = pool.map(lambda n: followed(api, response_id, n, **options), numbers)
        return {n: blocks_of(stream)[:-1] for n, stream in zip(numbers, streams, strict=True)}


@pytest.mark.thorough
def test_every_number_continues_with_the_same_bytes(api, serve):
    api = api()
    held = begin(api, FULL.replace("]]", " rate=20]]"))
    while_running = open_stream(api, held)
    # Join at each number while it runs, as soon as that event was sent.
    joined = {}
    with closing(while_running[0]):
        stream = b""
        seen = -1
        while piece := while_running[1].read1():
            stream += piece
            whole = stream.rpartition(b"\n\n")[0]
            numbers = [number_of(block) for block in blocks_of(whole) if block.startswith(b"event")]
            for number in range(seen, numbers[-1] if numbers else -1):
                joined[number] = open_stream(api, held, number)
            seen = max([seen, *numbers])
    events = events_in(stream)
    assert list(events) == list(range(len(events)))
    assert len(events) > 30
    for number, (connection, reply) in joined.items():
        with closing(connection):
            assert blocks_of(reply.read())[:-1] == behind(events, number), number
    numbers = range(-1, len(events))
    afterwards = followed_from_everywhere(api, held, numbers)
    assert afterwards == {n: behind(events, n) for n in numbers}
    # Another process, with nothing in its memory.
    api.server.restart()
    assert followed_from_everywhere(api, held, numbers) == afterwards


def test_after_a_killed_server_the_numbers_go_on(api):
    api = api()
    response = begin(api, FULL.replace("]]", "]] [[hold=gate after=10]]"))
    connection, reply = open_stream(api, response)
    with closing(connection):
        stream = begun(reply)
    before = {number_of(block): block for block in blocks_of(stream.rpartition(b"\n\n")[0])}
    api.server.kill9()
    release(api.provider, "gate")
    api.server.start()
    until(lambda: send(api, "GET", f"/responses/{response}")[2]["status"] == "completed", "the end")
    events = events_in(followed(api, response))
    assert list(events) == list(range(len(events)))
    assert {number: events[number] for number in before} == before
    for number in range(-1, len(events)):
        assert blocks_of(followed(api, response, number))[:-1] == behind(events, number)


def test_many_cuts_leave_no_gap_and_repeat_nothing(api):
    api, rng = api(), random.Random(16)
    responses = [begin(api, FULL.replace("]]", " rate=25]]")) for _n in range(12)]
    collected = {response: {} for response in responses}
    with ThreadPoolExecutor(12) as pool:
        seeds = [rng.random() for _response in responses]
        cuts = list(pool.map(lambda r, s: cut_often(api, r, collected[r], s), responses, seeds))
    assert sum(cuts) >= CUTS
    for response, found in collected.items():
        assert found == events_in(followed(api, response))


def cut_often(api, response, found, seed):
    """Follow a response with cuts at random bytes of the stream, until its end; return how many."""
    rng, cuts = random.Random(seed), 0
    while cuts < CUTS / 12 + 1:
        connection, reply = open_stream(api, response, max(found, default=-1))
        with closing(connection):
            stream = reply.read(rng.randrange(1, 1500))
        cuts += 1
        for block in blocks_of(stream.rpartition(b"\n\n")[0]):
            if block.startswith(b"event: "):
                assert number_of(block) not in found
                found[number_of(block)] = block
    for block in blocks_of(followed(api, response, max(found, default=-1)))[:-1]:
        assert number_of(block) not in found
        found[number_of(block)] = block
    return cuts


def test_without_its_log_every_stream_ends_with_the_whole_response(api):
    api = api()
    response = begin(api, FULL)
    until(lambda: send(api, "GET", f"/responses/{response}")[2]["status"] == "completed", "the end")
    events = events_in(followed(api, response))
    api.server.query(PRUNE.format(response.removeprefix("resp_")))
    # The memory of the process that wrote it is gone, too.
    api.server.restart()
    last = b'"status":"completed"'
    short = events_in(followed(api, response))
    assert list(short) == list(range(len(short)))
    assert len(short) < len(events)
    for number in range(len(events) + 3):
        [block] = blocks_of(followed(api, response, number))[:-1]
        assert number_of(block) > number
        assert last in block
        assert block.count(b'"type":"function_call"') == 2


def test_a_restart_ends_the_stream_and_the_answer_follows_behind_the_error(api):
    api = api()
    response = begin(api, "hello [[deltas=30 vary]] [[hold=gate after=10 on=1]] [[cut after=20 on=1]]")
    connection, reply = open_stream(api, response)
    with closing(connection):
        stream = begun(reply)
        release(api.provider, "gate")
        stream += reply.read()
    *before, error = blocks_of(stream)
    assert error.startswith(b"event: error")
    assert b'"code":"restarted"' in error
    assert number_of(error) == number_of(before[-1]) + 1
    until(lambda: send(api, "GET", f"/responses/{response}")[2]["status"] == "completed", "the end")
    output = send(api, "GET", f"/responses/{response}")[2]["output"]
    # Behind the error, and for everybody who comes later, there is the new answer only.
    again = events_in(followed(api, response, number_of(error)))
    assert list(again) == list(range(number_of(error) + 1, number_of(error) + 1 + len(again)))
    assert next(iter(again.values())).startswith(b"event: response.created")
    last = json.loads(list(again.values())[-1].partition(b"\ndata: ")[2])
    assert last["response"]["output"] == output
    for number in (-1, 0, number_of(before[-1])):
        assert events_in(followed(api, response, number)) == again


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_responses_of_others_do_not_exist(api, method):
    api = api()
    response = begin(api, FULL)
    api.server.sign_in("bob")
    bob = api.new_key("bob")
    for path in ("", "?stream=true", "/cancel", "/input_items"):
        verb = "POST" if path == "/cancel" else "GET" if path else method
        foreign = send(api, verb, f"/responses/{response}{path}", key=bob)
        missing = send(api, verb, f"/responses/resp_999999{path}", key=bob)
        assert (foreign[0], foreign[2]) == (missing[0], missing[2]) == (404, foreign[2])
    body = {"model": "fake", "input": "hello"}
    answers = [
        send(api, "POST", "/responses", body | {"previous_response_id": each}, key=bob)
        for each in (response, "resp_999999")
    ]
    assert [answer[0] for answer in answers] == [400, 400]
    foreign, missing = (answer[2]["error"]["message"] for answer in answers)
    assert foreign.replace(response, "") == missing.replace("resp_999999", "")
    reference = [{"type": "item_reference", "id": f"{response.replace('resp', 'fc')}_0"}]
    assert send(api, "POST", "/responses", body | {"input": reference}, key=bob)[0] == 400
    for name in ("resp_", "resp_0x1", f"resp_{9**40}", "1", "gen-1"):
        assert send(api, "GET", f"/responses/{name}")[0] == 404
