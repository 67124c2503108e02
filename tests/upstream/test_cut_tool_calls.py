"""Streams that are cut within tool calls: whole calls or an error, never half a call, never two of one."""

import json
import random

import pytest

from chat import events, upstream
from chat.upstream import errors
from tests.upstream.scripted import DONE, piece
from tests.upstream.test_tool_calls import ask, call_pieces, calling, check_pieces, entry

CUTS = 400


def random_calls(rng, count=2):
    return [
        (name, json.dumps({name: rng.choice(["Zürich", "Bern", "x" * rng.randrange(40)])}))
        for name in rng.sample(["weather", "time", "search", "write"], count)
    ]


def sliced(rng, text):
    """Return a text in pieces of random lengths."""
    pieces = []
    while text:
        size = rng.randrange(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def scripted(rng, text, calls):
    """Return an answer in random pieces, its last events apart."""
    entries = []
    for index, (name, arguments) in enumerate(calls):
        entries.append([entry(index, f"id-{rng.random()}", name, "")])
        entries += [[entry(index, arguments=each)] for each in sliced(rng, arguments)]
    return [*(piece(each) for each in sliced(rng, text)), *calling(*entries)[:-2]]


def shown(steps):
    text = ""
    for step in steps:
        if isinstance(step, events.Restarted):
            text = ""
        elif isinstance(step, events.Delta):
            text += step.text
    return text, [(call.name, call.arguments) for call in events.whole_tool_calls(call_pieces(steps))]


@pytest.mark.parametrize("seed", range(CUTS))
def test_a_cut_answer_becomes_whole_calls_or_an_error(seed):
    rng = random.Random(seed)
    text, calls = rng.choice(["", "I will look it up."]), random_calls(rng)
    answers, wanted = [], []
    for _run in range(rng.choice([1, 1, 2, 3])):  # the third cut finds no recovery left
        whole = scripted(rng, text, calls)
        answers.append(whole[: rng.randrange(1, len(whole) + 1)])
        if rng.random() < 0.5:
            text, calls = rng.choice([text, "Another."]), random_calls(rng, rng.choice([1, 2]))
    answers.append([*scripted(rng, text, calls), piece(finish="tool_calls"), DONE])
    wanted = (text, calls)

    steps = ask(*answers, continues=rng.random() < 0.5)
    check_pieces(call_pieces(steps))
    if isinstance(steps[-1], upstream.Finished):
        assert steps[-1].reason == "tool_calls"
        assert shown(steps) == wanted or wanted[0] in shown(steps)[0]
        assert shown(steps)[1] == wanted[1]
    else:
        assert isinstance(steps[-1], errors.Cut)
        assert len(answers) > 3


@pytest.mark.parametrize("seed", range(60))
def test_the_same_answer_again_goes_on_without_a_splice_and_keeps_its_ids(seed):
    rng = random.Random(seed)
    calls = random_calls(rng)
    whole = scripted(rng, "Looking.", calls)
    cut = whole[: rng.randrange(len(whole) // 2, len(whole) + 1)]
    steps = ask(cut, [*scripted(rng, "Looking.", calls), piece(finish="tool_calls"), DONE])
    assert not any(isinstance(step, events.Restarted) for step in steps)
    assert shown(steps) == ("Looking.", calls)
    first_ids = [each.id for each in call_pieces(ask([*cut, piece(finish="length"), DONE])) if each.id]
    ids = [each.id for each in call_pieces(steps) if each.id]
    assert ids[: len(first_ids)] == first_ids


@pytest.mark.parametrize("has_text", [True, False])
def test_a_lost_process_left_half_a_call_and_the_next_one_completes_it(has_text):
    text = "Looking." if has_text else ""
    left = [events.WholeToolCall("first", "weather", '{"city"')]
    again = calling([entry(0, "second", "weather", '{"city": "Bern"}')], text=text)
    steps = ask(again, text=text, calls=left)
    assert [(each.id, each.arguments) for each in call_pieces(steps)] == [("", ': "Bern"}')]
    other = calling([entry(0, "second", "weather", '{"town": "Bern"}')], text=text)
    steps = ask(other, text=text, calls=left, continues=True)
    assert shown(steps) == (text, [("weather", '{"town": "Bern"}')])
    assert call_pieces(steps)[0].id == "second"


def test_text_alone_is_continued_and_may_go_on_to_calls():
    cut = [piece("I will look it up"), piece(" now")]
    steps = ask(cut, calling([entry(0, "a", "weather", "{}")], text=" at once."), continues=True)
    assert shown(steps) == ("I will look it up now at once.", [("weather", "{}")])
    assert not any(isinstance(step, events.Restarted) for step in steps)


def test_without_recovery_a_cut_call_is_an_error():
    steps = ask(calling([entry(0, "a", "weather", '{"city"')])[:-2], budget=1)
    assert isinstance(steps[-1], errors.Cut)
