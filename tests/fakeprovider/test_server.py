"""Each word of the fake provider's table has the effect that the table describes."""

import email.utils
import time

import pytest

from chat.fakeprovider import ThreadedProvider
from chat.fakeprovider.behaviours import WORDS
from tests.support.provider_client import ask

HELLO = "hello"
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)


@pytest.fixture
def provider():
    with ThreadedProvider.running() as provider:
        yield provider


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_cut(reply, deltas=3):
    return not reply.is_done and reply.finish is None and len(reply.pieces()) == deltas


def in_s(reply):
    return email.utils.parsedate_to_datetime(reply.headers["retry-after"]).timestamp() - time.time()


# word: directives, and what must hold of the reply and of the text a plain answer to HELLO has.
CASES = {
    "rate": ("[[deltas=6 rate=100]]", lambda r, text: r.is_healthy and 0.045 < r.took_s < 5),
    "deltas": ("[[deltas=7]]", lambda r, text: len(r.pieces()) == 7 and r.is_healthy),
    "chars": ("[[chars=9 deltas=4]]", lambda r, text: [len(piece) for piece in r.pieces()] == [9] * 4),
    "text": (
        r"[[text=a b\n\u0000\ud83d\ude00 ünï]]",
        lambda r, text: r.is_healthy and r.text == "a b\n\0😀 ünï",
    ),
    "echo": ("[[echo]]", lambda r, text: r.text == HELLO and r.is_healthy),
    "seed": ("[[seed=5]]", lambda r, text: r.text != text and len(r.text) == len(text)),
    "vary": ("[[vary]]", lambda r, text: r.text != text and len(r.text) == len(text)),
    "headers_s": ("[[headers_s=0.05]]", lambda r, text: r.is_healthy and r.first_byte_s >= 0.045),
    "first_s": ("[[first_s=0.05]]", lambda r, text: r.is_healthy and r.took_s >= 0.045),
    "keepalive_s": (
        "[[stall after=2 for_s=0.1 keepalive_s=0.01]]",
        lambda r, text: r.is_healthy and r.lines.count(": keep-alive") >= 2,
    ),
    "finish": ("[[finish=length]]", lambda r, text: r.finish == "length" and r.is_done and r.text == text),
    "no_done": (
        "[[no_done]]",
        lambda r, text: not r.is_done and r.finish == "stop" and r.is_whole and r.text == text,
    ),
    "usage": (
        "[[usage=always deltas=5]]",
        lambda r, text: r.usage["completion_tokens"] == 5 and r.events[-1]["choices"] == [],
    ),
    "reasoning": (
        "[[reasoning=3]]",
        lambda r, text: len(r.pieces("reasoning_content")) == 3 and r.text == text,
    ),
    "reasoning_key": (
        "[[reasoning=3 reasoning_key=both]]",
        lambda r, text: r.pieces("reasoning") == r.pieces("reasoning_content") != [],
    ),
    "refusal": ("[[refusal]]", lambda r, text: "".join(r.pieces("refusal")) == text and not r.text),
    "capable": (
        "[[capable]] Reply exactly PONG, please.",
        lambda r, text: r.text == "PONG" and r.is_healthy,
    ),
    "text_first": (
        "[[tool_calls=1 text_first]]",
        lambda r, text: r.text == text and r.finish == "tool_calls" and bool(r.pieces("tool_calls")),
    ),
    "tool_calls": (
        "[[tool_calls=2]]",
        lambda r, text: (
            {call["index"] for calls in r.pieces("tool_calls") for call in calls} == {0, 1}
            and r.finish == "tool_calls"
        ),
    ),
    "nul": ("[[nul]]", lambda r, text: r.text.count("\0") == 6 and r.text.replace("\0", "") == text),
    "lone": ("[[lone]]", lambda r, text: "".join(r.pieces()).count("\ud83d") == 6 and r.is_healthy),
    "role_only": ("[[role_only]]", lambda r, text: not r.text and r.is_healthy),
    "null_content": (
        "[[null_content]]",
        lambda r, text: {"content": None} in [choice["delta"] for choice in r.choices] and r.text == text,
    ),
    "no_choices": (
        "[[no_choices]]",
        lambda r, text: [] in [event["choices"] for event in r.events] and r.text == text,
    ),
    "comments": ("[[comments]]", lambda r, text: r.lines.count(": comment") == 20 and r.text == text),
    "crlf": (
        "[[crlf]]",
        lambda r, text: r.body.count(b"\r\n\r\n") == r.body.count(b"\n") // 2 > 60 and r.text == text,
    ),
    "ascii": (
        r"[[ascii]] [[text=é😀]]",
        lambda r, text: rb"\u00e9\ud83d\ude00" in r.body and r.text == "é😀",
    ),
    "split_pairs": (
        "[[split_pairs]] [[text=a😀b]]",
        lambda r, text: r.pieces() == ["a\ud83d", "\ude00b"] and r.text == "a😀b",
    ),
    "segment": (
        "[[segment=1 deltas=5]] [[text=a😀b]]",
        lambda r, text: {len(chunk) for chunk in r.chunks} == {1} and r.text == "a😀b",
    ),
    "segment_s": (
        "[[segment=400 segment_s=0.01 deltas=10]]",
        lambda r, text: (
            r.took_s > 0.045 and {len(chunk) for chunk in r.chunks[:-1]} == {400} and r.is_healthy
        ),
    ),
    "split": (
        "[[split]] [[text=a😀b]]",
        lambda r, text: not all(map(is_utf8, r.chunks)) and r.text == "a😀b",
    ),
    "join": (
        "[[join=7 deltas=14]]",
        lambda r, text: [chunk.count(b'"content":"') for chunk in r.chunks][:2] == [8, 7] and r.is_healthy,
    ),
    "close_delimited": (
        "[[close_delimited]]",
        lambda r, text: r.is_healthy and not r.chunks and "content-length" not in r.headers,
    ),
    "shape": (
        "[[shape=parts reasoning=1 text=hello]]",
        lambda r, text: (
            r.events[1]["choices"][0]["delta"]["content"][0]["type"] == "thinking"
            and r.events[2]["choices"][0]["delta"]["content"][1]["text"] == "hell"
        ),
    ),
    "images": (
        "[[images=2 deltas=3]]",
        lambda r, text: (
            [len(each["choices"][0]["delta"].get("images", ())) for each in r.events[4:6]] == [1, 1]
        ),
    ),
    "images_first": (
        "[[images=1 images_first deltas=3]]",
        lambda r, text: "images" in r.events[1]["choices"][0]["delta"] and len(r.text) == 12,
    ),
    "image_shape": (
        "[[images=1 images_first image_shape=output deltas=3]]",
        lambda r, text: r.events[1]["choices"][0]["delta"]["content"][0]["type"] == "output_image",
    ),
    "early_finish": (
        "[[early_finish deltas=3]]",
        lambda r, text: [each["choices"][0]["finish_reason"] for each in r.events[1:4]] == ["stop"] * 3,
    ),
    "second_choice": (
        "[[second_choice]]",
        lambda r, text: r.events[1]["choices"][1]["delta"]["content"] == "another answer",
    ),
    "stamp": (
        "[[stamp deltas=3 rate=50]]",
        lambda r, text: (
            len(times := [float(time) for time in r.text.split()]) == 3 and times == sorted(times)
        ),
    ),
    "bom": ("[[bom]]", lambda r, text: r.body.startswith(b"\xef\xbb\xbfdata:")),
    "unstreamed": (
        "[[unstreamed]]",
        lambda r, text: (
            r.json["choices"][0]["message"]["content"] == text
            and r.headers["content-type"] == "application/json"
        ),
    ),
    "alternate": ("[[alternate]]", lambda r, text: r.is_healthy and r.text == text),
    "refuse": (
        "[[refuse=messages]]",
        lambda r, text: r.status == 400 and "'messages' is not supported" in r.error["message"],
    ),
    "context": (
        "[[context=3]] one two three",
        lambda r, text: r.status == 400 and r.error["code"] == "context_length_exceeded",
    ),
    "context_error": (
        "[[context=2 context_error=llama]] one two three",
        lambda r, text: r.error["type"] == "exceed_context_size_error" and r.error["code"] == 400,
    ),
    "prefill": ("[[prefill=reject]]", lambda r, text: r.is_healthy),
    "status": ("[[status=418]]", lambda r, text: r.status == 418 and r.error["code"] is None and r.is_whole),
    "silent": ("[[silent for_s=0.05]]", lambda r, text: not r.raw and not r.was_reset and r.took_s >= 0.045),
    "reset_early": ("[[reset_early]]", lambda r, text: not r.raw and r.was_reset),
    "close_early": ("[[close_early]]", lambda r, text: not r.raw and not r.was_reset),
    "garbage": ("[[garbage]]", lambda r, text: r.raw and not r.raw.startswith(b"HTTP")),
    "empty": (
        "[[empty]]",
        lambda r, text: (
            r.status == 200
            and r.body == b""
            and r.is_whole
            and r.headers["content-type"] == "text/event-stream"
        ),
    ),
    "html": (
        "[[html]]",
        lambda r, text: r.status == 200 and r.headers["content-type"] == "text/html" and b"<h1>" in r.body,
    ),
    "cut": ("[[cut]]", lambda r, text: is_cut(r) and r.is_whole),
    "drop": ("[[drop]]", lambda r, text: is_cut(r) and not r.is_whole and not r.was_reset),
    "reset": ("[[hold=x after=4]] [[reset after=5]]", lambda r, text: is_cut(r, 5) and r.was_reset),
    "stall": ("[[stall for_s=0.05]]", lambda r, text: r.is_healthy and r.text == text and r.took_s >= 0.045),
    "hold": ("[[hold=x]]", lambda r, text: r.is_healthy and r.text == text),
    "malformed": (
        "[[malformed]]",
        lambda r, text: len(r.payloads) == len(r.events) + 2 and r.text == text and r.is_healthy,
    ),
    "error": (
        "[[error after=2 code=server_error]]",
        lambda r, text: r.events[-1]["error"]["code"] == "server_error" and is_cut(r, 2) and r.is_whole,
    ),
    "event_error": (
        "[[event_error]]",
        lambda r, text: r.lines[-2] == "event: error" and "error" in r.events[-1] and is_cut(r),
    ),
    "after": ("[[cut after=end]]", lambda r, text: r.text == text and is_cut(r, 60)),
    "for_s": ("[[stall after=0 for_s=0.05]]", lambda r, text: r.is_healthy and r.took_s >= 0.045),
    "code": ("[[status=400 code=400]]", lambda r, text: r.error["code"] == 400),
    "type": ("[[status=400 type=odd]]", lambda r, text: r.error["type"] == "odd"),
    "message": ("[[status=400 message=so it is]]", lambda r, text: r.error["message"] == "so it is"),
    "body": (
        "[[status=502 body=html]]",
        lambda r, text: r.headers["content-type"] == "text/html" and r.body.startswith(b"<!doctype"),
    ),
    "retry_after": ("[[status=429 retry_after=soon]]", lambda r, text: r.headers["retry-after"] == "soon"),
    "retry_after_date": ("[[status=429 retry_after_date=30]]", lambda r, text: 28 < in_s(r) < 32),
    "retry_after_ms": (
        "[[status=429 retry_after_ms=1500]]",
        lambda r, text: r.headers["retry-after-ms"] == "1500",
    ),
    "should_retry": (
        "[[status=500 should_retry=false]]",
        lambda r, text: r.headers["x-should-retry"] == "false",
    ),
    "times": ("[[status=500 times=1]]", lambda r, text: r.status == 500),
    "on": ("[[status=500 on=2]]", lambda r, text: r.is_healthy),
    "chance": ("[[status=500 chance=0]]", lambda r, text: r.is_healthy),
    "slow": ("[[slow rate=100 first_s=0.05]]", lambda r, text: r.is_healthy and r.took_s > 0.5),
    "fast": ("[[fast]]", lambda r, text: r.is_healthy),
    "huge": ("[[huge]]", lambda r, text: [len(piece) for piece in r.pieces()] == [1 << 20]),
    "long": ("[[long]]", lambda r, text: r.body.count(b"\n\n") == 100_003 and r.is_whole),
    "thinker": ("[[thinker]]", lambda r, text: len(r.pieces("reasoning_content")) == 100 and r.text == text),
    "down": ("[[down]]", lambda r, text: r.status == 503 and r.error["type"] == "server_error"),
    "busy": ("[[busy]]", lambda r, text: r.status == 429 and r.headers["retry-after"] == "2"),
    "overloaded": (
        "[[overloaded]]",
        lambda r, text: r.status == 529 and r.error["type"] == "overloaded_error",
    ),
    "quota": (
        "[[quota]]",
        lambda r, text: (
            r.error["code"] == r.error["type"] == "insufficient_quota"
            and r.headers["x-should-retry"] == "false"
        ),
    ),
    "provider_error": (
        "[[provider_error=groq.rate-2]]",
        lambda r, text: r.status == 429 and "7m12.5s" in r.error["message"],
    ),
    "filtered": ("[[filtered]]", lambda r, text: r.status == 400 and r.error["code"] == "content_filter"),
    "flaky": ("[[flaky]]", lambda r, text: r.is_healthy or is_cut(r)),
    # What these two do is in test_sdk.py; outside of a batch they do nothing.
    "batch_line": ("[[batch_line=missing]]", lambda r, text: r.is_healthy and r.text == text),
    "batch_end": ("[[batch_end=failed]]", lambda r, text: r.is_healthy and r.text == text),
    "healthy": ("[[down]] [[healthy]]", lambda r, text: r.is_healthy and r.text == text),
}


def test_every_word_of_the_table_has_a_case():
    assert set(CASES) == set(WORDS)


@pytest.mark.parametrize("word", CASES)
def test_word_has_the_described_effect(provider, word):
    directives, holds = CASES[word]
    provider.release("x")

    reply = ask(provider, f"{directives} {HELLO}")

    assert holds(reply, provider.text_for(HELLO)), (reply.raw[:2000], reply.took_s)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_every_status_comes_with_every_body(provider, status, body):
    reply = ask(provider, f"[[status={status} body={body}]]")

    assert (reply.status, reply.is_whole) == (status, True)
    assert {"json": reply.body[:1] == b"{", "html": reply.body[:1] == b"<", "empty": not reply.body}[body]


@pytest.mark.parametrize(
    "fault", ["cut", "drop", "reset", "error", "event_error", "malformed", "stall for_s=0.01"]
)
def test_faults_in_the_middle_happen_in_answers_that_do_not_stream(provider, fault):
    reply = ask(provider, f"[[{fault}]] {HELLO}", stream=False)

    is_answered = fault.startswith("stall")
    has_error = fault in ("error", "event_error")
    is_broken = not is_answered and not has_error
    assert (b'"error"' in reply.body) == has_error
    assert reply.body.endswith(b"}") != is_broken
    assert reply.is_whole == (fault not in ("drop", "reset"))


def test_answer_that_does_not_stream_has_the_same_text(provider):
    reply = ask(provider, HELLO, stream=False)

    choice = reply.json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (provider.text_for(HELLO), "stop")


def test_usage_is_sent_only_on_request(provider):
    assert ask(provider, HELLO).usage is None
    assert ask(provider, HELLO, stream_options={"include_usage": True}).usage["completion_tokens"] == 60
    assert ask(provider, f"[[usage=never]] {HELLO}", stream_options={"include_usage": True}).usage is None
    assert ask(provider, f"[[usage=inline]] {HELLO}").events[-1]["choices"][0]["finish_reason"] == "stop"


def test_token_limit_ends_the_answer_with_length(provider):
    reply = ask(provider, HELLO, max_tokens=7)

    assert (len(reply.pieces()), reply.finish, reply.is_done) == (7, "length", True)


def test_text_has_everything_that_breaks_renderers(provider):
    text = provider.text_for("[[deltas=5000]]")

    assert all(
        mark in text
        for mark in ("```", "**", "| --- |", "<script>", "日本語", "مرحبا", "שלום", "👩‍👩‍👧", "ü")
    )


def test_longer_text_begins_with_the_shorter(provider):
    assert provider.text_for("[[deltas=500]] x").startswith(provider.text_for("x"))
