"""Tool calls: every form that servers send them in leads to the same events."""

import itertools
import json

import pytest

from chat import events, upstream
from chat.upstream import errors
from chat.upstream.tool_calls import ToolCallReader
from tests.support.clock import run_without_waiting
from tests.upstream.scripted import DONE, ScriptedClient, event, piece

WEATHER, TIME = '{"city": "Zürich"}', '{"zone": "CET"}'
OFFERED = {"tools": [{"type": "function", "function": {"name": "weather"}}]}


def entry(index=None, id=None, name=None, arguments=None, **more):
    """Return an entry of `tool_calls`; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    function = {key: value for key, value in function.items() if value is not None}
    call = {"index": index, "id": id, "function": function or None} | more
    return {key: value for key, value in call.items() if value is not None}


FORMS = {
    "as OpenAI": [
        [entry(0, "a", "weather", "", type="function")],
        [entry(0, arguments=WEATHER[:5])],
        [entry(0, arguments=WEATHER[5:])],
        [entry(1, "b", "time", "", type="function")],
        [entry(1, arguments=TIME)],
    ],
    "interleaved": [
        [entry(0, "a", "weather", ""), entry(1, "b", "time", "")],
        [entry(0, arguments=WEATHER[:5]), entry(1, arguments=TIME[:4])],
        [entry(1, arguments=TIME[4:])],
        [entry(0, arguments=WEATHER[5:])],
    ],
    "all in one piece": [[entry(0, "a", "weather", WEATHER), entry(1, "b", "time", TIME)]],
    "one piece each": [[entry(0, "a", "weather", WEATHER)], [entry(1, "b", "time", TIME)]],
    "no index, one piece each": [[entry(None, "a", "weather", WEATHER)], [entry(None, "b", "time", TIME)]],
    "no index, all in one": [[entry(None, "a", "weather", WEATHER), entry(None, "b", "time", TIME)]],
    "no index, in pieces": [
        [entry(None, "a", "weather", "")],
        [entry(arguments=WEATHER[:5])],
        [entry(arguments=WEATHER[5:])],
        [entry(None, "b", "time", "")],
        [entry(arguments=TIME)],
    ],
    "no index, the id in each piece": [
        [entry(None, "a", "weather", WEATHER[:5])],
        [entry(None, "a", arguments=WEATHER[5:])],
        [entry(None, "b", "time", TIME)],
    ],
    "one index for all": [[entry(0, "a", "weather", WEATHER)], [entry(0, "b", "time", TIME)]],
    "no id": [
        [entry(0, None, "weather", WEATHER[:5])],
        [entry(0, arguments=WEATHER[5:])],
        [entry(1, None, "time", TIME)],
    ],
    "neither index nor id": [
        [entry(name="weather", arguments=WEATHER)],
        [entry(name="time", arguments=TIME)],
    ],
    "the same id": [[entry(0, "x", "weather", WEATHER)], [entry(1, "x", "time", TIME)]],
    "empty ids": [[entry(0, "", "weather", WEATHER)], [entry(1, "", "time", TIME)]],
    "arguments as objects": [
        [entry(0, "a", "weather", json.loads(WEATHER))],
        [entry(1, "b", "time", json.loads(TIME))],
    ],
    "a late name": [
        [entry(0, "a", arguments="")],
        [entry(0, arguments=WEATHER[:5])],
        [entry(0, name="weather")],
        [entry(0, arguments=WEATHER[5:])],
        [entry(1, "b", "", "")],
        [entry(1, None, "time", TIME)],
    ],
    "a repeated name": [
        [entry(0, "a", "weather", WEATHER[:5])],
        [entry(0, "a", "weather", WEATHER[5:])],
        [entry(1, "b", "time", TIME)],
    ],
    "without a list": [entry(0, "a", "weather", WEATHER), entry(1, "b", "time", TIME)],
    "without function": [
        [{"index": 0, "id": "a", "name": "weather", "arguments": WEATHER}],
        [{"index": 1, "id": "b", "name": "time", "arguments": TIME}],
    ],
}


def call_pieces(steps):
    found = []
    for step in steps:
        if isinstance(step, events.Restarted):
            found = []
        elif isinstance(step, events.ToolCall):
            found.append(step)
    return found


def check_pieces(pieces):
    """Check that ids and names are in the first piece of an index only, and that ids differ."""
    for _index, some in itertools.groupby(
        sorted(pieces, key=lambda each: each.index), lambda each: each.index
    ):
        first, *others = some
        assert first.id
        assert first.name
        assert not any(each.id or each.name for each in others)
    ids = [each.id for each in pieces if each.id]
    assert len(set(ids)) == len(ids)


def ask(*answers, text="", calls=(), extra=OFFERED, budget=8, **target):
    """Ask once, in no time; return the steps, with the error, if there is one, at the end."""
    return run_without_waiting(_ask(ScriptedClient(answers), text, calls, extra, budget, target))


async def _ask(client, text, calls, extra, budget, target):
    steps = []

    async def text_so_far():
        shown = text
        for step in steps:
            if isinstance(step, events.Restarted):
                shown = ""
            elif isinstance(step, events.Delta):
                shown += step.text
        return shown

    def prompt(target, *, partial, may_prefill, refused):
        return upstream.Prompt([{"role": "user", "content": "hello"}], extra=extra, prefill=partial)

    try:
        async for step in upstream.stream(
            [upstream.Target("http://a/v1", "k", "m", endpoint="a", **target)],
            prompt,
            client=client,
            state=upstream.UpstreamState(),
            budget=upstream.CallBudget(budget),
            text_so_far=text_so_far,
            tool_calls=calls,
        ):
            steps.append(step)  # noqa: PERF401 - kept when an error follows
    except errors.UpstreamError as exc:
        steps.append(exc)
    return steps


def calling(*entries, text=None, finish="tool_calls"):
    """Return the events of an answer with these `tool_calls` fields."""
    first = [piece(text)] if text else []
    pieces = [event({"choices": [{"index": 0, "delta": {"tool_calls": each}}]}) for each in entries]
    return [*first, *pieces, piece(finish=finish), DONE]


@pytest.mark.parametrize("entries", FORMS.values(), ids=FORMS)
def test_every_form_leads_to_the_same_calls(entries):
    reader = ToolCallReader()
    pieces = [found for each in entries for found in reader.feed(each)] + reader.end()
    check_pieces(pieces)
    calls = events.whole_tool_calls(pieces)
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("weather", json.loads(WEATHER)),
        ("time", json.loads(TIME)),
    ]
    assert reader.is_whole


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "tool_use", "function_call"])
@pytest.mark.parametrize("entries", FORMS.values(), ids=FORMS)
def test_the_finish_reason_is_tool_calls_whatever_the_server_says(entries, finish):
    steps = ask(calling(*entries, text="I will look.", finish=finish))
    assert steps[-1].reason == "tool_calls"
    assert [call.name for call in events.whole_tool_calls(call_pieces(steps))] == ["weather", "time"]
    kinds = [type(step) for step in steps if isinstance(step, events.Delta | events.ToolCall)]
    assert kinds[0] is events.Delta


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_other_finish_reasons_stay_and_half_arguments_are_passed_on_as_they_are(finish):
    steps = ask(calling([entry(0, "a", "weather", WEATHER[:7])], finish=finish))
    assert steps[-1].reason == finish
    assert call_pieces(steps)[0].arguments == WEATHER[:7]


def test_calls_that_were_not_offered_are_left_out_and_noted():
    steps = ask(calling([entry(0, "a", "weather", WEATHER)], text="Sunny."), extra={})
    assert call_pieces(steps) == []
    assert (steps[-1].reason, "not offer" in steps[-1].note) == ("stop", True)


def test_nothing_but_calls_that_were_not_offered_is_no_answer():
    assert isinstance(ask(calling([entry(0, "a", "weather", WEATHER)]), extra={})[-1], errors.AnswerUnusable)


def test_a_call_without_arguments_has_an_empty_object():
    steps = ask(calling([entry(0, "a", "now", "")], [entry(1, "b", "time", TIME)]))
    assert [call.arguments for call in events.whole_tool_calls(call_pieces(steps))] == ["{}", TIME]


@pytest.mark.parametrize(
    "bad", [["weather"], "weather", 7, [entry(0, "a", None, WEATHER)]], ids=["text", "a text", "7", "no name"]
)
def test_calls_that_cannot_be_read_are_a_damaged_answer(bad):
    assert isinstance(ask(calling(bad))[-1], errors.Malformed)


@pytest.mark.parametrize(("arguments", "is_complete"), [(WEATHER, True), (WEATHER[:7], False)])
def test_without_a_finish_reason_only_whole_arguments_are_complete(arguments, is_complete):
    answer = [*calling([entry(0, "a", "weather", arguments)])[:-2], DONE]
    last = ask(answer, finish_reason_optional=True)[-1]
    assert isinstance(last, upstream.Finished) is is_complete


def test_nul_and_lone_surrogates_are_cleaned():
    steps = ask(calling([entry(0, "a\0", "wea\0ther", '{"x": "\0\ud800"}')]))
    (call,) = events.whole_tool_calls(call_pieces(steps))
    assert (call.id, call.name, call.arguments) == ("a", "weather", '{"x": "\N{REPLACEMENT CHARACTER}"}')


def test_a_long_call_takes_time_in_proportion_to_its_length():
    text = json.dumps({"text": "x" * 200_000})
    entries = [[entry(0, "a", "write", "")], *([entry(0, arguments=c)] for c in itertools.batched(text, 4))]
    entries = [
        [each[0] | {"function": {"arguments": "".join(each[0]["function"]["arguments"])}}] if n else each
        for n, each in enumerate(entries)
    ]
    cut = calling(*entries)[:-2]
    steps = ask(cut, calling(*entries))
    (call,) = events.whole_tool_calls(call_pieces(steps))
    assert call.arguments == text
    assert not any(isinstance(step, events.Restarted) for step in steps)
