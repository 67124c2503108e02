"""The capable model: which tools it calls, and what it writes."""

import json

import pytest
from jsonschema_rs import Draft202012Validator

from chat.fakeprovider import capable, chat_request

NESTED = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 12},
        "kind": {"enum": ["b", "c"]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "minItems": 2},
        "maybe": {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]},
    },
    "required": ["name", "kind", "parts", "maybe"],
    "additionalProperties": False,
    "$defs": {
        "Part": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
    },
}


def tool(name, **parameters):
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def request(*messages, **values):
    asked = list(messages) or [{"role": "user", "content": "What is the weather?"}]
    return chat_request.parse({"model": "fake", "messages": asked, **values})


def names(*messages, **values):
    return [use.name for use in capable.calls_for(request(*messages, **values))]


def called(*functions):
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in functions]
    results = [{"role": "tool", "tool_call_id": name, "content": f"{name} done"} for name in functions]
    return [{"role": "user", "content": "Go."}, {"role": "assistant", "tool_calls": calls}, *results]


TWO = [tool("first"), tool("second")]


@pytest.mark.parametrize(
    ("messages", "values", "expected"),
    [
        ([], {}, []),
        ([], {"tools": TWO}, ["first"]),
        ([], {"tools": TWO, "tool_choice": "none"}, []),
        ([], {"tools": TWO, "tool_choice": {"type": "function", "function": {"name": "second"}}}, ["second"]),
        ([{"role": "user", "content": "Both, in parallel."}], {"tools": TWO}, ["first", "second"]),
        (
            [{"role": "user", "content": "Both, in parallel."}],
            {"tools": TWO, "parallel_tool_calls": False},
            ["first"],
        ),
        (called("first"), {"tools": TWO}, ["second"]),
        (called("first", "second"), {"tools": TWO}, []),
        (called("first", "second"), {"tools": TWO, "tool_choice": "required"}, ["second"]),
    ],
)
def test_it_calls_each_tool_once_before_it_answers(messages, values, expected):
    assert names(*messages, **values) == expected


def test_arguments_and_answers_fit_their_schema():
    [use] = capable.calls_for(request(tools=[tool("save", **NESTED)]))
    Draft202012Validator(NESTED).validate(json.loads(use.arguments))
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": NESTED}}
    Draft202012Validator(NESTED).validate(json.loads(capable.text_for(request(response_format=form))))


def test_it_writes_what_it_is_asked_to():
    asked = {"role": "user", "content": 'Return only {"answer": "PONG"}.'}
    assert capable.text_for(request(asked, response_format={"type": "json_object"})) == '{"answer": "PONG"}'
    assert capable.text_for(request({"role": "user", "content": "Reply exactly PONG."})) == "PONG"
    assert capable.text_for(request(*called("first"))) == "The result is: first done"
    assert capable.text_for(request()) is None
