"""Joining the text of a second call: repetitions are dropped, other text restarts the answer."""

import pytest

from chat import events, upstream
from chat.upstream import Recovery
from chat.upstream.splice import Splice
from tests.upstream.support import shown

BEFORE = "The cat sat on"
DONE = upstream.Finished("stop", None, upstream.Target("", "", "m"))


def splice(recovery, *texts, ends=True):
    """Return what is shown of a call with these texts after BEFORE."""
    spliced = Splice(BEFORE, recovery, "cut")
    steps = [events.Delta(BEFORE)]
    for step in [*map(events.Delta, texts), *([DONE] if ends else [])]:
        steps += spliced.feed(step)
    return steps


def pieces(text):
    """Yield the ways to cut a text in two, and one that cuts it into characters."""
    yield from ((text[:n], text[n:]) for n in range(len(text) + 1))
    yield tuple(text)


@pytest.mark.parametrize("texts", list(pieces(" the mat.")))
def test_a_continuation_is_appended(texts):
    assert shown(splice(Recovery.CONTINUE, *texts), events.Delta) == BEFORE + " the mat."


@pytest.mark.parametrize("recovery", Recovery)
@pytest.mark.parametrize("texts", list(pieces(BEFORE + " the mat.")))
def test_a_repetition_is_dropped_without_a_visible_seam(recovery, texts):
    steps = splice(recovery, *texts)
    assert shown(steps, events.Delta) == BEFORE + " the mat."
    assert not any(isinstance(step, events.Restarted) for step in steps)


@pytest.mark.parametrize("text", ["The dog", "A cat", "The cat sat on", "The cat", "T"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_continuation_that_begins_like_the_text_is_kept_unless_it_repeats_all_of_it(text, size):
    texts = [text[start : start + size] for start in range(0, len(text), size)]
    wanted = BEFORE if text == BEFORE else BEFORE + text
    assert shown(splice(Recovery.CONTINUE, *texts), events.Delta) == wanted


@pytest.mark.parametrize("texts", [("The dog ran.",), ("The ", "c", "ow ran."), ("The cat",), ("X",)])
def test_other_text_restarts_the_answer_and_nothing_of_the_old_text_stays(texts):
    steps = splice(Recovery.RESTART, *texts)
    assert [step.reason for step in steps if isinstance(step, events.Restarted)] == ["cut"]
    assert shown(steps, events.Delta) == "".join(texts)


def test_the_old_text_stays_until_the_new_text_differs():
    assert splice(Recovery.RESTART, "The ", "cat", ends=False) == [events.Delta(BEFORE)]


@pytest.mark.parametrize(("said", "thinking"), [("The dog.", "Hm."), (BEFORE + " it.", "")])
def test_thinking_of_a_restart_is_shown_only_with_its_text(said, thinking):
    spliced = Splice(BEFORE, Recovery.RESTART, "cut")
    steps = [*spliced.feed(events.Thinking("Hm.")), *spliced.feed(events.Delta(said))]
    assert shown(steps, events.Thinking) == thinking


def test_what_a_call_sent_and_did_not_show_is_known():
    splice = Splice("The old text", Recovery.RESTART, "cut")
    assert list(splice.feed(events.Delta("The old"))) == []
    assert splice.hidden_text == "The old"
    assert list(splice.feed(events.Delta(" text goes on"))) == [events.Delta(" goes on")]
    assert splice.hidden_text == "The old text"
    other = Splice("The old text", Recovery.RESTART, "cut")
    assert len(list(other.feed(events.Delta("Another")))) == 2
    assert other.hidden_text == ""
