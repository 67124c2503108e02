"""Every fault of the fake provider through the real server in real time: a whole answer, or a named end."""

import json

import pytest

from tests.support.provider_control import provider_text, requests_of
from tests.support.server_settings import overridden
from tests.support.serving import stored
from tests.support.socket_client import FINAL, ask, next_frame, whole

# The directive, how it must end, and the calls it may take.
WHOLE, CUT, FAILED = {"completed"}, {"interrupted"}, {"failed"}
ONCE, THRICE = 1, 3
FAULTS = [
    ("[[first_s=0.3]]", WHOLE, ONCE),
    ("[[headers_s=0.3]]", WHOLE, ONCE),
    ("[[no_done]]", WHOLE, ONCE),
    ("[[crlf comments no_choices null_content]]", WHOLE, ONCE),
    ("[[segment=1 deltas=20]]", WHOLE, ONCE),
    ("[[split ascii deltas=60]]", WHOLE, ONCE),
    ("[[split_pairs ascii deltas=60]]", WHOLE, ONCE),
    ("[[join=50 deltas=200 rate=0]]", WHOLE, ONCE),
    ("[[deltas=1 chars=300000]]", WHOLE, ONCE),
    ("[[reasoning=10 rate=50]]", WHOLE, ONCE),
    ("[[usage=never]]", WHOLE, ONCE),
    ("[[finish=length]]", WHOLE, ONCE),
    ("[[finish=content_filter]]", WHOLE, ONCE),
    ("[[refusal]]", WHOLE, ONCE),
    ("[[role_only]]", WHOLE, ONCE),
    ("[[status=503 times=2]]", WHOLE, THRICE),
    ("[[status=429 retry_after=1 times=1]]", WHOLE, 2),
    ("[[reset_early times=1]]", WHOLE, 2),
    ("[[cut after=5]]", CUT, THRICE),
    ("[[cut after=end]]", CUT, THRICE),
    ("[[finish=none]]", CUT, THRICE),
    ("[[drop after=5]]", CUT, THRICE),
    ("[[malformed after=5]]", CUT, THRICE),
    ("[[error after=5]]", CUT, THRICE),
    ("[[event_error after=5]]", CUT, THRICE),
    ("[[stall after=5]]", CUT, THRICE),
    ("[[stall after=5 keepalive_s=0.2]]", CUT, THRICE),
    ("[[status=400]]", FAILED, ONCE),
    ("[[status=401]]", FAILED, ONCE),
    ("[[status=403]]", FAILED, ONCE),
    ("[[status=404 body=html]]", FAILED, ONCE),
    ("[[status=413 body=empty]]", FAILED, ONCE),
    ("[[status=422]]", FAILED, ONCE),
    ("[[status=307]]", FAILED, ONCE),
    ("[[quota]]", FAILED, ONCE),
    ("[[filtered]]", FAILED, ONCE),
    ("[[tool_calls=2 finish=tool_calls]]", FAILED, ONCE),
    ("[[status=408]]", FAILED, THRICE),
    ("[[status=409]]", FAILED, THRICE),
    ("[[status=429]]", FAILED, THRICE),
    ("[[status=500 body=html]]", FAILED, THRICE),
    ("[[status=502 body=empty]]", FAILED, THRICE),
    ("[[status=504]]", FAILED, THRICE),
    ("[[status=529]]", FAILED, THRICE),
    ("[[silent]]", FAILED, THRICE),
    ("[[reset_early]]", FAILED, THRICE),
    ("[[close_early]]", FAILED, THRICE),
    ("[[garbage]]", FAILED, THRICE),
    ("[[empty]]", FAILED, THRICE),
    ("[[html]]", FAILED, THRICE),
    ("[[unstreamed]]", WHOLE, ONCE),
]
# In the middle of the answer, once: they end as a whole answer, continued or generated again.
CUTS = [
    "cut after=5",
    "cut after=end",
    "drop after=5",
    "reset after=5",
    "malformed after=5",
    "error after=5",
    "event_error after=5",
    "stall after=5",
    "stall after=5 keepalive_s=0.2",
]
RECOVERED = [(f"[[{cut} times=1]]", WHOLE, 2) for cut in CUTS]
ENVIRONMENT = {
    # A model for each fault, so that no breaker of another one's is in the way.
    "OPENAI_MODEL": ",".join(f"fake:{n}" for n in range(len(FAULTS))),
    "CHATSITE_RUNNING_PER_USER": "1000",
    "CHATSITE_ASKS_PER_MINUTE": "10000",
    "CHATSITE_FIRST_TOKEN_TIMEOUT_S": "4",
    "CHATSITE_STALL_TIMEOUT_S": "3",
} | overridden(RETRY_POLICY={"backoff_first_s": 0.05})
STORED = """
import json
from chat.models import Generation
rows = Generation.objects.select_related("message")
print(json.dumps({row.pk: [row.status, row.message.text, row.calls] for row in rows}))
"""
CONTINUE = "from chat.models import Model; Model.objects.update(continuation='{}')"
MODELS = "from chat.models import Model; print(dict(Model.objects.values_list('name', 'pk')))"


@pytest.mark.parametrize(
    ("faults", "continuation"), [(FAULTS, "none"), (RECOVERED, "none"), (RECOVERED, "plain")]
)
def test_every_fault_ends_as_a_whole_answer_or_a_named_error(serve, provider, faults, continuation):
    server = serve(provider.env_for_server | ENVIRONMENT)
    server.query(CONTINUE.format(continuation))
    models = eval(server.query(MODELS))
    with server.sign_in().socket() as socket:
        asked = {
            ask_model(socket, models, n, directive): (n, directive)
            for n, (directive, _ends, _calls) in enumerate(faults)
        }
        ends, texts = read_all(socket, set(asked))
        rows = json.loads(server.query(STORED))
        wrong = [
            f"{directive}: {complaint}"
            for generation, (n, directive) in asked.items()
            for complaint in complaints(
                provider, n, faults[n], ends[generation], texts[generation], rows[str(generation)]
            )
        ]
        assert not wrong, "\n".join(wrong)
        # A normal chat works right after, on the models that failed too.
        for n in range(0, len(faults), 9):
            accepted = ask(socket, "and now?", model=models[f"fake:{n}"])
            text = whole(socket, accepted["generation"])
            assert text == provider_text(provider, "and now?")


def ask_model(socket, models, n, directive):
    accepted = ask(socket, f"question {n} {directive}", model=models[f"fake:{n}"])
    assert accepted["type"] == "accepted", accepted
    return accepted["generation"]


def read_all(socket, generations):
    """Read the events of all of these until each has ended; return their last events and their texts."""
    ends, texts = {}, dict.fromkeys(generations, "")
    last = dict.fromkeys(generations, 0)
    # The socket replays from the first event for every follower, so none was missed.
    for generation in generations:
        socket.send(json.dumps({"type": "follow", "generation": generation}))
    while len(ends) < len(generations):
        frame = next_frame(socket, lambda frame: frame.get("generation") in generations and "seq" in frame)
        generation = frame["generation"]
        if generation in ends or frame["seq"] != last[generation] + 1:
            continue
        last[generation] = frame["seq"]
        if frame["type"] == "delta":
            texts[generation] += frame["text"]
        elif frame["type"] == "restarted":
            texts[generation] = ""
        elif frame["type"] == "snapshot":
            texts[generation] = frame["text"]
        if frame["type"] in FINAL:
            ends[generation] = frame
    return ends, texts


def complaints(provider, n, fault, end, shown, row):
    directive, wanted, calls_wanted = fault
    status, text, calls = row
    full = provider_text(provider, f"question {n} {directive}")
    if status not in wanted or end.get("status", end["type"]) != status:
        yield f"ended as {status} ({end}), not as {wanted}"
    if calls != calls_wanted:
        yield f"took {calls} calls, not {calls_wanted}"
    if shown != text:
        yield f"showed {shown[:60]!r} and stored {text[:60]!r}"
    if wanted is WHOLE and directive != "[[role_only]]" and text != full:
        yield f"is {text[:60]!r}, not {full[:60]!r}"
    if wanted is CUT and not (text and full.startswith(text)):
        yield f"kept {text[:60]!r} of {full[:60]!r}"
    if wanted is FAILED and text:
        yield f"has text: {text[:60]!r}"
    if wanted is not WHOLE and not (end.get("code") and end.get("message")):
        yield f"has no name: {end}"


@pytest.mark.parametrize("moment", ["writing", "backing off", "in line"])
def test_a_stop_is_quick_at_any_moment(serve, provider, moment):
    env = provider.env_for_server | {"CHATSITE_RUNNING_PER_USER": "10"}
    server = serve(env)
    if moment == "in line":
        server.query("from chat.models import Endpoint; Endpoint.objects.update(slots=1)")
    with server.sign_in().socket() as socket:
        if moment == "in line":
            ask(socket, "[[hold=gate after=1]]")
        directive = "[[status=429 retry_after=30]]" if moment == "backing off" else "[[hold=gate after=2]]"
        generation = ask(socket, f"stop me {directive}")["generation"]
        sign = {"writing": "delta", "backing off": "retrying", "in line": "queued"}[moment]
        next_frame(socket, lambda frame: frame.get("generation") == generation and frame["type"] == sign)
        socket.send(json.dumps({"type": "stop", "generation": generation}))
        next_frame(socket, lambda frame: frame.get("generation") == generation and frame["type"] == "stopped")
    assert stored(server, generation)[0] == "stopped"
    if moment == "writing":
        records = requests_of(provider)
        assert [record["left_s"] is not None for record in records] == [True]
