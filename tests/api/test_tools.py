"""Tool calls through the API, with the official client: whole, streamed, in the background, repeated."""

import json

import openai
import pytest

from chat.api.invalid_body import InvalidBody
from chat.api.parsing import parse
from tests.api.test_native import ask, ended, parsed, send
from tests.support.programs import until

FORECAST = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "The weather of the next days.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TWO_CALLS = [{"role": "user", "content": "The weather? [[tool_calls=2]]"}]
ARGUMENTS = [{"city": "Zürich", "days": 1}, {"city": "Zürich", "days": 2}]


def create(client, messages=TWO_CALLS, **more):
    return client.chat.completions.create(
        **{"model": "fake", "messages": messages, "tools": [FORECAST]} | more
    )


def calls_of(message):
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]


def test_calls_and_their_results(api):
    api = api()
    client = api.client()
    done = create(client, tool_choice="auto", parallel_tool_calls=True)
    choice = done.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert calls_of(choice.message) == [("forecast", each) for each in ARGUMENTS]
    assert {call.type for call in choice.message.tool_calls} == {"function"}
    sent = api.requests()[-1]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in choice.message.tool_calls
    ]
    again = create(client, [{"role": "user", "content": "The weather?"}, choice.message, *results])
    assert (again.choices[0].finish_reason, bool(again.choices[0].message.content)) == ("stop", True)
    assert again.choices[0].message.tool_calls is None
    assert sent["model"] == "fake"


def test_a_stream_of_calls_is_gathered_by_the_stream_helper(api):
    client = api().client()
    with client.chat.completions.stream(
        model="fake", messages=TWO_CALLS, tools=[openai.pydantic_function_tool(Forecast, name="forecast")]
    ) as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_completion().choices[0]
    assert done.finish_reason == "tool_calls"
    assert [call.function.parsed_arguments for call in done.message.tool_calls] == [
        Forecast(**each) for each in ARGUMENTS
    ]
    assert kinds.count("tool_calls.function.arguments.done") == 2
    chunks = [chunk.choices[0] for chunk in create(client, stream=True)]
    first = [call for chunk in chunks for call in chunk.delta.tool_calls or () if call.id]
    assert [(call.index, call.type, call.function.arguments) for call in first] == [
        (0, "function", ""),
        (1, "function", ""),
    ]


class Forecast(openai.BaseModel):
    city: str
    days: int


def test_a_background_answer_has_its_calls_and_its_events(api):
    api = api()
    begun = ask(api, TWO_CALLS[0]["content"], background=True, tools=[FORECAST])[2]
    done = ended(api, begun["id"])
    assert done["finish_reason"] == "tool_calls"
    message = done["completion"]["choices"][0]["message"]
    assert message["content"] is None
    events = [
        data
        for _seq, kind, data in parsed(send(api, "GET", f"/generations/{begun['id']}/events")[2])
        if kind == "tool_call"
    ]
    assert [(data["index"], data["name"]) for data in events if "id" in data] == [
        (0, "forecast"),
        (1, "forecast"),
    ]
    told = {data["index"]: data["id"] for data in events if "id" in data}
    assert [call["id"] for call in message["tool_calls"]] == [told[0], told[1]]
    for index, call in enumerate(message["tool_calls"]):
        pieces = [data.get("arguments", "") for data in events if data["index"] == index]
        assert call["function"] == {"name": "forecast", "arguments": "".join(pieces)}


def test_the_same_request_again_gives_the_same_calls(api):
    client = api().client()
    keyed = {"extra_headers": {"Idempotency-Key": "once"}}
    first, second = create(client, **keyed), create(client, **keyed)
    assert first.choices == second.choices
    streamed = [
        call.id
        for chunk in create(client, stream=True)
        for call in chunk.choices[0].delta.tool_calls or ()
        if call.id
    ]
    assert len(streamed) == 2


def test_a_stream_that_was_cut_within_a_call_and_goes_on_alike_shows_nothing_of_it(api):
    text = "The weather? [[tool_calls=2]] [[cut after=3 times=1]]"
    chunks = [
        each.choices[0] for each in create(api().client(), [{"role": "user", "content": text}], stream=True)
    ]
    calls = [call for each in chunks for call in each.delta.tool_calls or ()]
    assert chunks[-1].finish_reason == "tool_calls"
    assert [call.index for call in calls if call.id] == [0, 1]
    told = ["".join(call.function.arguments for call in calls if call.index == index) for index in (0, 1)]
    assert [json.loads(each) for each in told] == ARGUMENTS


def test_a_stream_that_was_cut_within_a_call_and_goes_on_differently_ends_with_an_error(api):
    api = api()
    text = "The weather? [[tool_calls=2 times=1]] [[cut after=3 times=1]]"
    messages = [{"role": "user", "content": text}]
    with pytest.raises(openai.APIError) as caught:
        list(create(api.client(), messages, stream=True))
    assert caught.value.code == "restarted"
    whole = create(api.client(), [{"role": "user", "content": f"Again: {text}"}])
    assert (whole.choices[0].finish_reason, whole.choices[0].message.tool_calls) == ("stop", None)


def test_a_killed_server_hands_out_whole_calls_or_none(api):
    api = api()
    text = "The weather? [[tool_calls=2]] [[hold=gate after=4 times=1]]"
    begun = ask(api, text, background=True, tools=[FORECAST])[2]
    until(lambda: [each for each in api.requests() if each["state"] == "held"], "half a call")
    api.server.kill9()
    api.server.start()
    done = ended(api, begun["id"])
    assert done["status"] == "completed"
    calls = done["completion"]["choices"][0]["message"]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == ARGUMENTS
    assert len({call["id"] for call in calls}) == 2


def function(name):
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [FORECAST] * 129}, "tools"),
        ({"tools": [FORECAST, {"type": "custom", "custom": {"name": "x"}}]}, "tools[1].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [function("")]}, "tools[0].function.name"),
        ({"tools": ["x"]}, "tools[0]"),
        (
            {"tools": [{"type": "function", "function": {"name": "x", "parameters": 3}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": function("other")}, "tool_choice.function.name"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice.allowed_tools.tools",
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [function("o")]},
                }
            },
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
        ({"functions": [{"name": "x"}]}, "functions"),
    ],
)
def test_tools_that_cannot_be_offered_are_refused_here(more, param):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [FORECAST]} | more
    with pytest.raises(InvalidBody) as caught:
        parse(json.dumps(body).encode())
    assert caught.value.param == param


@pytest.mark.parametrize(
    "choice",
    [
        *("none", "auto", "required", None),
        function("forecast"),
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function("forecast")]}},
    ],
)
def test_every_form_of_tool_choice_is_passed_on(choice):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [FORECAST]}
    options = parse(json.dumps(body | {"tool_choice": choice}).encode()).options
    assert (options.tool_choice, options.tools) == (choice, [FORECAST])
