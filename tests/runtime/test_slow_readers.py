"""Pages that stop reading during a long answer delay no other page, and lose no text."""

import json
from contextlib import ExitStack

from tests.support.provider_control import provider_text, release
from tests.support.serving import stored
from tests.support.socket_client import FINAL, ask, whole

STUCK = 3
# Two million characters as fast as possible, far more than the flow control window; then a gate.
FLOOD = "flood {n} [[hold=gate{n} after=499]] [[deltas=500 chars=4000 rate=0]]"


def read_and_acknowledge(socket, generation):
    """Read and acknowledge an answer like a page that draws; return its text."""
    texts = []
    for message in socket:
        frame = json.loads(message)
        if frame.get("generation") != generation or "seq" not in frame:
            continue
        socket.send(json.dumps({"type": "ack", "generation": generation, "seq": frame["seq"]}))
        texts.append(frame.get("text", ""))
        if frame["type"] in FINAL:
            return "".join(texts)
    raise AssertionError("the socket ended before the answer")


def test_sockets_that_do_not_read_delay_no_other_and_receive_everything_later(serve, provider):
    env = {"CHATSITE_ANSWER_MAX_CHARS": "10000000", "CHATSITE_RUNNING_PER_USER": "100"}
    server = serve(provider.env_for_server | env)
    with ExitStack() as stack:
        # A queue of one frame: the rest waits in the kernel and in the server.
        session = server.sign_in()
        stuck = [stack.enter_context(session.socket(max_queue=1)) for _ in range(STUCK)]
        flooded = [ask(socket, FLOOD.format(n=n))["generation"] for n, socket in enumerate(stuck)]
        other = stack.enter_context(server.sign_in("bob").socket())
        questions = [f"question {n} [[deltas=100 rate=0]]" for n in range(10)]
        answers = [whole(other, ask(other, question)["generation"]) for question in questions]
        assert answers == [provider_text(provider, question) for question in questions]
        assert stored(server, flooded[0])[0] == "running"
        for n, (socket, generation) in enumerate(zip(stuck, flooded, strict=True)):
            release(provider, f"gate{n}")
            expected = provider_text(provider, FLOOD.format(n=n))
            assert read_and_acknowledge(socket, generation) == expected
