"""The read gate: a websocket that floods is not read until its allowance has grown again."""

import asyncio

from chat.runtime.asgi_server import backpressure
from chat.runtime.asgi_server.backpressure import FRAMES_AT_ONCE, ReadGate
from tests.support.clock import run_without_waiting

FRAME = {"type": "websocket.receive", "text": "{}"}


class Transport:
    """What the gate uses of Twisted's transport."""

    connected, disconnecting = True, False
    bufferSize = 65536

    def __init__(self):
        self.calls = []
        self.resumed = asyncio.Event()

    def pauseProducing(self):
        self.calls.append("pause")

    def resumeProducing(self):
        self.calls.append("resume")
        self.resumed.set()


def gate_of(transport):
    queue = asyncio.Queue()
    return ReadGate(transport, queue, asyncio.get_running_loop()), queue


def test_a_flood_pauses_reading_until_the_allowance_is_back():
    async def flood():
        transport = Transport()
        gate, queue = gate_of(transport)
        for _ in range(FRAMES_AT_ONCE):
            gate.put_nowait(FRAME)
        assert transport.calls == []
        for _ in range(100):  # the rest of one read
            gate.put_nowait(FRAME)
        assert transport.calls == ["pause"]
        started_s = asyncio.get_running_loop().time()
        await transport.resumed.wait()
        assert transport.calls == ["pause", "resume"]
        assert asyncio.get_running_loop().time() - started_s >= 100 / backpressure.FRAMES_PER_S
        assert queue.qsize() == FRAMES_AT_ONCE + 100, "nothing is dropped"

    run_without_waiting(flood())


def test_a_page_that_sends_a_few_frames_a_second_is_never_paused():
    async def page():
        transport = Transport()
        gate, _queue = gate_of(transport)
        for _ in range(2000):
            gate.put_nowait(FRAME)
            await asyncio.sleep(1 / 40)
        assert transport.calls == []

    run_without_waiting(page())


def test_a_connection_that_closed_during_the_pause_is_left_alone():
    async def flood():
        transport = Transport()
        gate, _queue = gate_of(transport)
        for _ in range(FRAMES_AT_ONCE + 1):
            gate.put_nowait(FRAME)
        transport.connected = False
        await asyncio.sleep(10)
        assert transport.calls == ["pause"]

    run_without_waiting(flood())


def test_other_messages_are_passed_on_uncounted():
    async def disconnect():
        gate, queue = gate_of(Transport())
        gate.put_nowait({"type": "websocket.disconnect", "code": 1006})
        assert queue.get_nowait()["code"] == 1006

    run_without_waiting(disconnect())
