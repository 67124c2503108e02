"""Parsing of bodies: what is refused before anything is decoded, and what is cleaned."""

import json
import subprocess
import sys
import tracemalloc

import pytest

from chat.api import json_body
from chat.api.invalid_body import InvalidBody
from chat.api.json_body import DEPTH_MAX, OPTIONS_MAX_BYTES, VALUES_MAX
from chat.api.parser_child import TEXT_MAX_CHARS, parse_large
from chat.api.parsing import parse
from tests.support.serving import BASE_DIR

USER = {"role": "user", "content": "hello"}


def body(*messages, **more):
    return json.dumps({"model": "fake", "messages": messages or [USER], **more}).encode()


def with_extra(extra):
    return b'{"model":"fake","messages":[{"role":"user","content":"hello","x":' + extra + b"}]}"


def refused(data):
    with pytest.raises(InvalidBody) as caught:
        parse(data)
    return caught.value


@pytest.mark.parametrize(
    "extra",
    [
        b"[" + b"[]," * VALUES_MAX + b"1]",
        b"[" + b'{"a":1},' * VALUES_MAX + b"1]",
        b"[" + b"1," * VALUES_MAX + b"1]",
        b"[" * 500_000 + b"]" * 500_000,
    ],
    ids=["lists", "objects", "numbers", "depth"],
)
def test_a_hostile_body_is_refused_before_it_becomes_objects(extra):
    data = with_extra(extra)
    tracemalloc.start()
    error = refused(data)
    _now, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.code == "malformed_request"
    assert "values" in str(error) or "nested" in str(error)
    # As objects it would take twenty times its size.
    assert peak_bytes < 100_000


def test_many_small_messages_are_refused_with_the_limit():
    error = refused(body(*[{"role": "user", "content": ""}] * 10_001))
    assert "10000" in str(error)
    assert len(parse(body(*[{"role": "user", "content": ""}] * 10_000)).messages) == 10_000


def test_nesting_has_a_limit_and_brackets_in_texts_do_not_count():
    deepest = DEPTH_MAX - 3
    assert parse(with_extra(b"[" * deepest + b"]" * deepest)).messages
    error = refused(with_extra(b"[" * (deepest + 1) + b"]" * (deepest + 1)))
    assert str(error) == f"The request body is nested deeper than {DEPTH_MAX} levels."
    text = '[{"\\' * 300_000 + '\\"]'
    assert parse(body({"role": "user", "content": text})).messages[0]["content"] == text


def test_parameters_fit_one_row():
    error = refused(body(response_format={"type": "x" * OPTIONS_MAX_BYTES}))
    assert str(OPTIONS_MAX_BYTES) in str(error)


def test_nul_is_removed_from_messages_and_parameters():
    parsed = parse(body({"role": "user", "content": "a\x00b", "n\x00": "\x00"}, stop=["\x00x"]))
    assert parsed.messages == [{"role": "user", "content": "ab", "n": ""}]
    assert parsed.options.stop == ["x"]
    emoji = parse(body({"role": "user", "content": "\U0001f600"}))
    assert emoji.messages[0]["content"] == "\U0001f600"


def test_the_header_of_a_large_body_describes_its_messages():
    messages = [USER, {"role": "assistant", "content": "é" * 10}, {"role": "user", "content": "x" * 200_000}]
    header, encoded = parse_large(body(*messages))
    assert json.loads(b"[" + encoded + b"]") == messages
    assert header.text == "x" * TEXT_MAX_CHARS
    assert (header.message_count, header.text_bytes) == (3, 5 + 20 + 200_000)
    reordered = [dict(reversed(each.items())) for each in messages]
    assert parse_large(body(*reordered))[0].digest == header.digest
    assert parse_large(body(*messages[1:]))[0].digest != header.digest


def test_the_header_of_an_invalid_body_has_the_error():
    header, encoded = parse_large(body(temperature=9))
    assert (header.code, header.param, encoded) == ("invalid_value", "temperature", b"")
    assert (header.message % header.values).startswith("temperature: ")


def test_an_upper_bound_of_values_needs_no_parsing():
    assert json_body.value_count(body()) >= 3


FIRST_REQUESTS = """
import os, sys, threading
from django import setup
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
setup()
from chat.api import parsing
from chat.api.responses import input, parsing as responses_parsing

BODIES = {{
    parsing.parse: {chat!r},
    responses_parsing.parse: {response!r},
}}
barrier = threading.Barrier(8)

def run(parse, body):
    barrier.wait()
    parsed = parse(body)
    if hasattr(parsed, "items"):
        input.to_messages(parsed.items, {{}})

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=run, args=each) for each in BODIES.items() for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("parsed")
"""


def test_the_first_requests_of_a_process_are_parsed_in_many_threads_at_once():
    tool = {"type": "function", "function": {"name": "f"}}
    items = [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    program = FIRST_REQUESTS.format(
        chat=body(tools=[tool], stream_options={"include_usage": True}),
        response=json.dumps({"model": "fake", "input": items, "reasoning": {"effort": "low"}}).encode(),
    )
    options = {"cwd": BASE_DIR, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([sys.executable, "-c", program], **options)
    assert (done.returncode, done.stdout) == (0, "parsed\n"), done.stderr
