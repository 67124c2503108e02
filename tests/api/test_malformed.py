"""A hundred invalid requests: each error says what to change, and none is a server error."""

import json

from tests.api.test_native import send

OK = {"model": "fake", "messages": [{"role": "user", "content": "hello [[deltas=1]]"}]}
USER = {"role": "user", "content": "hello"}


def changed(**fields):
    return {**OK, **fields}


def nested(depth):
    return b'{"model":"fake","messages":' + b"[" * depth + b"]" * depth + b"}"


BROKEN = [
    b"", b" ", b"{", b"}", b"[", b"nonsense", b"null", b"true", b"1", b'"text"', b"[]", b"[{}]", b"{}", b"{]",
    b"{'model': 'fake'}", b'{"model": "fake",}', b'{"model": fake}', b'{"model"}', b"\x00", b"\xff\xfe",
    b'{"model":"fake\xff"}', b'{"model":"fake\x00"}', b'{"model":"\\ud800","messages":[]}',
    b'{"model":"fake","messages":[{"role":"user","content":"\\ud800"}]}', b'{"model":"\\x"}',
    b'{"model":"fake","messages":[{"role":"user","content":"a\nb"}]}', b'{"temperature":NaN}',
    b'{"temperature":Infinity}', b'{"temperature":1e999}', b'{"seed":' + b"9" * 400 + b"}",
    b'{"seed":-' + b"9" * 5000 + b"}", nested(65), nested(900), nested(5000), nested(200_000),
    b'{"a":' * 2000 + b"1" + b"}" * 2000, b"model=fake&messages=hello", b"<xml/>", b"{" * 100_000,
    b'{"model":"fake"} {"model":"fake"}', b"\xef\xbb\xbf{}", b"data: {}", b"0x10", b"-", b'"' + b"a" * 70_000,
]  # fmt: skip
WRONG = [
    {"model": "fake"}, {"messages": [USER]}, changed(model=None), changed(model=1), changed(model=""),
    changed(model=[]), changed(model={}), changed(model="x" * 301), changed(model="nobody"),
    changed(model="fake\x00"), changed(messages=None), changed(messages={}), changed(messages="hello"),
    changed(messages=[]), changed(messages=[None]), changed(messages=["hello"]), changed(messages=[{}]),
    changed(messages=[{"role": "user", "content": 1}]),
    changed(messages=[{"role": "king", "content": "hi"}]),
    changed(messages=[{"role": 1}]), changed(messages=[{"role": None}]),
    changed(messages=[{"content": "hi"}]),
    changed(messages=[{"role": "user", "content": {}}]),
    changed(messages=[{"role": "user", "content": [1]}]),
    changed(messages=[{"role": "user", "content": [{}]}]), changed(messages=[[USER]]),
    changed(messages=[{"role": "user", "content": [{"type": "input_audio"}]}]),
    changed(messages=[{"role": "user", "content": [{"type": "text", "text": 5}]}]),
    changed(messages=[USER] * 10_001), changed(temperature="hot"), changed(temperature=-1),
    changed(temperature=2.1), changed(temperature=1e308), changed(temperature=[]), changed(temperature=True),
    changed(top_p=2), changed(top_p="x"), changed(max_tokens=0), changed(max_tokens=-1),
    changed(max_tokens=1.5), changed(max_tokens=2**31), changed(max_tokens=10**30), changed(max_tokens="5"),
    changed(max_tokens=1, max_completion_tokens=2), changed(stop=1), changed(stop=[1]),
    changed(stop=["x"] * 17), changed(seed=2**63), changed(seed="x"), changed(seed=0.5),
    changed(presence_penalty=3), changed(frequency_penalty=-3), changed(logit_bias=[]),
    changed(logit_bias={"1": "x"}), changed(response_format="json"), changed(response_format=[]),
    changed(reasoning_effort=1), changed(stream="yes"), changed(stream=1), changed(stream_options=1),
    changed(stream_options={"include_usage": "x"}), changed(fallbacks="fake"), changed(fallbacks=[1]),
    changed(fallbacks=["nobody"]), changed(fallbacks=["fake"] * 9), changed(background="x"),
    changed(background=True, stream=True), changed(callback_url="http://127.0.0.1/"),
    changed(background=True, callback_url="http://127.0.0.1/"), changed(background=True, callback_url=1),
    changed(n=129), changed(n=0), changed(n=True), changed(logprobs="yes"), changed(top_logprobs=3),
    changed(tools=[{"type": "function"}]), changed(tools="x"), changed(tool_choice="required"),
    changed(functions=[{}]), changed(function_call={}), changed(modalities=["audio"]), changed(audio={}),
    changed(prediction=1), changed(web_search_options={}), changed(metadata=[]), changed(metadata={"a": 1}),
    changed(user=1), changed(temprature=1), changed(**{"": 1}), changed(**{"a\x00": 1}),
    changed(Model="fake"),
    changed(min_p=2), changed(top_k="x"), changed(verbosity=[]), changed(store="x"),
]  # fmt: skip


def test_invalid_requests_get_an_error_that_says_what_to_change(api):
    api = api(CHATSITE_API_BODY_MAX_BYTES="1000000")
    assert len(BROKEN) + len(WRONG) > 100
    for body in [*BROKEN, *WRONG]:
        status, headers, reply = send(api, "POST", "/chat/completions", body)
        context = (body if isinstance(body, bytes) else json.dumps(body).encode())[:200], status, reply
        assert status in {400, 404}, context
        assert headers["x-request-id"].startswith("req_")
        assert len(reply["error"]["message"]) > 10, context
        assert "Traceback" not in reply["error"]["message"]
        assert reply["error"]["type"] == "invalid_request_error", context
    assert api.requests() == []
    assert send(api, "POST", "/chat/completions", OK)[0] == 200


def test_errors_before_parsing_have_the_same_format(api):
    api = api(CHATSITE_API_BODY_MAX_BYTES="2000")
    big = changed(messages=[{"role": "user", "content": "x" * 3000}])
    for wanted, method, path, body, key in [
        (413, "POST", "/chat/completions", big, None),
        (405, "GET", "/chat/completions", None, None),
        (405, "DELETE", "/models", None, None),
        (405, "GET", "/generations/gen-1/cancel", None, None),
        (404, "GET", "/", None, None),
        (404, "POST", "/images/generations", OK, None),
        (404, "GET", "/models/nobody", None, None),
        (404, "GET", "/models/a%00b", None, None),
        (401, "POST", "/chat/completions", OK, "cs-wrong"),
        (401, "GET", "/models", None, "é"),
        (401, "GET", "/generations/gen-1", None, "x" * 5000),
    ]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
        status, headers, reply = send(api, method, path, body, **headers)
        assert status == wanted, (path, reply)
        assert reply["error"]["message"]
        assert headers["x-request-id"]
    assert send(api, "POST", "/chat/completions", OK, Idempotency_Key="x" * 256)[0] == 400
    assert send(api, "GET", "/generations/gen-1/events", Last_Event_ID="x")[0] == 400


def test_values_without_effect_of_unsupported_parameters_are_accepted(api):
    api = api()
    neutral = {
        "n": 1,
        "logprobs": False,
        "tools": None,
        "tool_choice": "none",
        "user": "me",
        "metadata": {"a": "b"},
    }
    assert send(api, "POST", "/chat/completions", changed(**neutral))[0] == 200
