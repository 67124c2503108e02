"""Requests with `n` above 1 or `logprobs`: all choices are passed on whole, or the answer is an error."""

import random

import pytest

from chat import events, upstream
from chat.upstream import errors
from tests.support.clock import run_without_waiting
from tests.upstream.scripted import DONE, ScriptedClient, event

CUTS = 60
NOT_RECOVERED = upstream.Policy(recoveries=frozenset())


def choice(index, text=None, finish=None, logprobs=None, **delta):
    delta = delta | ({} if text is None else {"content": text})
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}


def chunk(*choices):
    return event({"choices": list(choices)})


def token(text):
    return {"content": [{"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []}], "refusal": None}


def ask(*answers, extra=None, fallback=False, **target):
    """Ask once, in no time; return the steps, and the error that ended them or None."""
    return run_without_waiting(_ask(ScriptedClient(answers), extra or {"n": 2}, fallback, target))


async def _ask(client, extra, has_fallback, options):
    steps, error = [], None
    prompt = upstream.Prompt([{"role": "user", "content": "hello"}], extra=extra)
    route = [upstream.Target("http://a/v1", "k", "m", endpoint="a", **options)]
    if has_fallback:
        route.append(upstream.Target("http://b/v1", "k", "n", endpoint="b"))
    try:
        async for step in upstream.stream(
            route,
            lambda *_, **__: prompt,
            client=client,
            state=upstream.UpstreamState(),
            budget=upstream.CallBudget(),
            policy=NOT_RECOVERED,
        ):
            steps.append(step)  # noqa: PERF401 - kept when an error follows
    except errors.UpstreamError as exc:
        error = exc
    return steps, error


def choices_in(steps):
    return events.whole_choices(
        piece for step in steps if isinstance(step, events.Choices) for piece in step.pieces
    )


def calls_made(steps):
    return sum(isinstance(step, upstream.StartedStep) for step in steps)


def test_choices_and_their_log_probabilities_add_up():
    answer = [
        chunk(choice(1, "Yes", logprobs=token("Yes"))),
        chunk(choice(0, "No", logprobs=token("No")), choice(1, ".", logprobs=token("."))),
        chunk(choice(0, finish="stop")),
        chunk(choice(1, finish="max_tokens")),
        DONE,
    ]
    steps, error = ask(answer, extra={"n": 2, "logprobs": True})
    assert error is None
    first, second = choices_in(steps)
    assert (first.text, first.finish_reason, first.logprobs) == ("No", "stop", token("No"))
    assert (second.text, second.finish_reason) == ("Yes.", "length")
    assert [each["token"] for each in second.logprobs["content"]] == ["Yes", "."]
    assert "".join(step.text for step in steps if isinstance(step, events.Delta)) == "No"
    assert steps[-1].reason == "stop"


def test_each_choice_has_its_own_tool_calls():
    def call(index, city):
        function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
        return choice(index, tool_calls=[{"index": 0, "id": f"c{index}", "function": function}])

    answer = [chunk(call(0, "Bern"), call(1, "Basel")), chunk(choice(0, finish="stop"))]
    answer += [chunk(choice(1, finish="tool_calls")), DONE]
    steps, error = ask(answer, extra={"n": 2, "tools": [{}]})
    assert error is None
    assert [[call.arguments for call in each.tool_calls] for each in choices_in(steps)] == [
        ['{"city": "Bern"}'],
        ['{"city": "Basel"}'],
    ]
    assert {each.finish_reason for each in choices_in(steps)} == {"tool_calls"}


def test_one_document_has_all_choices():
    listed = [
        {"index": index, "message": {"content": text}, "finish_reason": "stop", "logprobs": token(text)}
        for index, text in enumerate(["No", "Yes"])
    ]
    steps, error = ask([event({"choices": listed}).removeprefix("data: ")], extra={"n": 2, "logprobs": True})
    assert error is None
    assert [(each.text, each.logprobs) for each in choices_in(steps)] == [
        ("No", token("No")),
        ("Yes", token("Yes")),
    ]


def test_an_endpoint_that_sends_fewer_choices_than_asked_is_noted():
    steps, error = ask([chunk(choice(0, "No")), chunk(choice(0, finish="stop")), DONE], extra={"n": 3})
    assert error is None
    assert len(choices_in(steps)) == 1
    assert "1 of 3" in steps[-1].note


def test_a_failure_before_the_first_piece_is_retried_and_falls_over():
    good = [
        chunk(choice(0, "No"), choice(1, "Yes")),
        chunk(choice(0, finish="stop"), choice(1, finish="stop")),
    ]
    steps, error = ask([errors.ServerFailed("")], [errors.ServerFailed("")], [*good, DONE], fallback=True)
    assert error is None
    assert calls_made(steps) == 3
    assert [each.text for each in choices_in(steps)] == ["No", "Yes"]


@pytest.mark.parametrize(
    "last",
    [
        [chunk(choice(0, finish="stop"))],  # the other one goes on
        [chunk(choice(0, finish="stop"), choice(1, finish="stop")), chunk(choice(1, "more"))],
        [chunk(choice(0, finish="stop"), choice(1, finish="error")), DONE],
        [chunk(choice(0, finish="stop"), choice(1, finish="because")), DONE],
        [chunk(choice(0, finish="stop")), DONE],
        [errors.Cut("reset")],
    ],
)
def test_an_answer_with_half_a_choice_is_an_error_and_has_no_finish_reason(last):
    steps, error = ask([chunk(choice(0, "No"), choice(1, "Y")), *last])
    assert isinstance(error, errors.UpstreamError)
    assert calls_made(steps) == 1
    assert {each.finish_reason for each in choices_in(steps)} == {""}


@pytest.mark.parametrize("seed", range(CUTS))
def test_a_cut_anywhere_is_an_error_or_nothing_was_shown(seed):
    rng = random.Random(seed)
    count = rng.randrange(1, 4)
    pieces = [(index, word) for index in range(count) for word in ("one ", "two ", "three")]
    rng.shuffle(pieces)
    lines = [chunk(choice(index, word, logprobs=token(word))) for index, word in pieces]
    lines += [chunk(choice(index, finish="stop")) for index in range(count)]
    cut = rng.randrange(len(lines))
    steps, error = ask(lines[:cut] or [""], [*lines, DONE], extra={"n": count, "logprobs": True})
    if cut:
        assert isinstance(error, errors.Cut)
        assert calls_made(steps) == 1
        assert {each.finish_reason for each in choices_in(steps)} == {""}
    else:
        assert error is None
        assert len(choices_in(steps)) == count


def test_odd_values_in_log_probabilities_can_be_stored():
    odd = '{"content": [{"token": "\\ud83d\\u0000", "logprob": -Infinity, "bytes": NaN}]}'
    first = chunk(choice(0, "Hi", logprobs="ODD")).replace('"ODD"', odd)
    steps, error = ask([first, chunk(choice(0, finish="stop")), DONE], extra={"logprobs": True})
    assert error is None
    [token] = choices_in(steps)[0].logprobs["content"]
    assert (token["logprob"], token["bytes"]) == (None, None)
    assert "\0" not in token["token"]
    token["token"].encode()
