"""Items of a request become the messages of a chat completion, and back."""

import json

import pytest

from chat.api.invalid_body import InvalidBody
from chat.api.responses.input import check_calls, references_in, to_messages
from chat.api.responses.parsing import parameters_of, parse

USER = {"role": "user", "content": "Hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "search", "arguments": "{}", "id": "fc_1"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
TOOL = {"type": "function", "name": "search", "parameters": {"type": "object"}, "strict": True}
SCHEMA = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}
NESTED_CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}


def body(**values):
    return json.dumps({"model": "fake", "input": "Hello"} | values).encode()


def refused(**values):
    with pytest.raises(InvalidBody) as caught:
        to_messages(parse(body(**values)).items, {})
    return caught.value


def messages(*items):
    return to_messages(parse(body(input=list(items))).items, {}).messages


def test_a_text_is_a_user_message():
    assert to_messages(parse(body()).items, {}).messages == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("part", "becomes"),
    [
        ({"type": "input_text", "text": "Hi"}, {"type": "text", "text": "Hi"}),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        ),
        (
            {"type": "input_file", "file_data": "data:text/plain;base64,AA", "filename": "a.txt"},
            {"type": "file", "file": {"file_data": "data:text/plain;base64,AA", "filename": "a.txt"}},
        ),
        ({"type": "refusal", "refusal": "No."}, {"type": "refusal", "refusal": "No."}),
    ],
)
def test_parts(part, becomes):
    text = {"type": "input_text", "text": "See:"}
    [message] = messages({"type": "message", "role": "user", "content": [text, part]})
    assert message["content"] == [{"type": "text", "text": "See:"}, becomes]


def test_calls_join_the_text_before_them_and_outputs_are_tool_messages():
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]}
    second = CALL | {"call_id": "c2"}
    assert messages(USER, answer, CALL, second, OUTPUT) == [
        USER,
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [NESTED_CALL, NESTED_CALL | {"id": "c2"}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert messages(USER, CALL)[1] == {"role": "assistant", "content": None, "tool_calls": [NESTED_CALL]}


def test_reasoning_is_left_out_and_phase_is_accepted():
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "?"}
    answer = {"role": "assistant", "content": "Four.", "phase": "commentary"}
    assert messages(reasoning, answer) == [{"role": "assistant", "content": "Four."}]


def test_an_output_needs_its_call():
    parsed = to_messages([OUTPUT], {})
    assert parsed.unmatched == [("input[0].call_id", "c1")]
    check_calls(parsed.unmatched, {"c1"})
    with pytest.raises(InvalidBody) as caught:
        check_calls(parsed.unmatched, set())
    assert caught.value.param == "input[0].call_id"


def test_references_are_replaced_by_the_items():
    items = [{"type": "item_reference", "id": "fc_1_0"}, OUTPUT]
    assert references_in(items) == {"fc_1_0": "input[0].id"}
    parsed = to_messages(items, {"fc_1_0": CALL})
    assert parsed.unmatched == []
    assert parsed.messages[0]["tool_calls"] == [NESTED_CALL]
    with pytest.raises(InvalidBody) as caught:
        to_messages(items, {})
    assert caught.value.param == "input[0].id"


def test_parameters_are_those_of_a_chat_completion():
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "search"}]}
    request = parse(
        body(
            tools=[TOOL],
            tool_choice=choice,
            parallel_tool_calls=False,
            text={"format": SCHEMA, "verbosity": "low"},
            reasoning={"effort": "low", "summary": "auto"},
            max_output_tokens=7,
            temperature=0.5,
        )
    )
    function = {name: TOOL[name] for name in ("name", "parameters", "strict")}
    named = {"type": "function", "function": {"name": "search"}}
    assert parameters_of(request.options) == {
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {name: SCHEMA[name] for name in ("name", "schema", "strict")},
        },
        "verbosity": "low",
        "reasoning_effort": "low",
        "max_tokens": 7,
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("values", "code", "param"),
    [
        ({"input": None}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": 7}, "invalid_value", "input"),
        ({"input": ["x"]}, "invalid_value", "input[0]"),
        ({"input": [{}]}, "invalid_value", "input[0].type"),
        ({"input": [{"type": "computer_call"}]}, "unsupported_parameter", "input[0].type"),
        ({"input": [USER, {"role": "tool", "content": "x"}]}, "invalid_value", "input[1].role"),
        ({"input": [{"role": "user"}]}, "invalid_value", "input[0]"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "invalid_value", "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "unsupported_parameter",
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "invalid_value",
            "input[0].content[0].image_url",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x.org/a"}]}]},
            "unsupported_parameter",
            "input[0].content[0].file_url",
        ),
        (
            {"input": [CALL, OUTPUT | {"output": [{"type": "input_image", "image_url": "x"}]}]},
            "unsupported_parameter",
            "input[1].output[0].type",
        ),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "unsupported_parameter", "include[0]"),
        ({"background": True, "store": False}, "invalid_value", "store"),
        ({"callback_url": "https://example.org"}, "invalid_value", "callback_url"),
        ({"tools": [{"type": "web_search"}]}, "unsupported_parameter", "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "invalid_value", "tools[0].name"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}},
            "invalid_value",
            "tool_choice.name",
        ),
        ({"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "invalid_value", "text.format"),
        ({"metadata": {"k" * 65: "v"}}, "invalid_value", "metadata"),
        ({"temprature": 1}, "unknown_parameter", "temprature"),
    ],
)
def test_what_is_refused_is_named(values, code, param):
    error = refused(**values)
    assert (error.code, error.param) == (code, param)
    assert str(error)


def test_null_asks_for_nothing():
    names = ("instructions", "tools", "text", "metadata", "prompt", "conversation", "background", "include")
    assert parameters_of(parse(body(**dict.fromkeys(names))).options) == {}
