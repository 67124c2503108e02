"""Where a second call joins the first one's text: repetitions go, other words begin anew."""

import pytest

from chat import events, upstream
from chat.upstream import Recovery
from chat.upstream.splice import Seam
from tests.upstream.test_stream import shown

BEFORE = "The cat sat on"
DONE = upstream.Finished("stop", None, upstream.Target("", "", "m"))


def join(recovery, *texts, ends=True):
    """Return the steps that are shown of a call with these texts, behind BEFORE."""
    seam = Seam(BEFORE, recovery, "cut")
    steps = [events.Delta(BEFORE)]
    for step in [*map(events.Delta, texts), *([DONE] if ends else [])]:
        steps += seam.join(step)
    return steps


def pieces(text):
    """Yield ways to cut a text in two or one by one."""
    yield from ((text[:n], text[n:]) for n in range(len(text) + 1))
    yield tuple(text)


@pytest.mark.parametrize("texts", list(pieces(" the mat.")))
def test_a_continuation_is_appended(texts):
    assert shown(join(Recovery.CONTINUE, *texts), events.Delta) == BEFORE + " the mat."


@pytest.mark.parametrize("recovery", Recovery)
@pytest.mark.parametrize("texts", list(pieces(BEFORE + " the mat.")))
def test_what_only_repeats_the_text_is_dropped_and_it_goes_on_without_a_seam(recovery, texts):
    steps = join(recovery, *texts)
    assert shown(steps, events.Delta) == BEFORE + " the mat."
    assert not any(isinstance(step, events.Restarted) for step in steps)


@pytest.mark.parametrize("text", ["The dog", "A cat", "The cat sat on", "The cat", "T"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_continuation_that_begins_like_the_text_is_kept_unless_it_is_all_of_it(text, size):
    texts = [text[start : start + size] for start in range(0, len(text), size)]
    wanted = BEFORE if text == BEFORE else BEFORE + text
    assert shown(join(Recovery.CONTINUE, *texts), events.Delta) == wanted


@pytest.mark.parametrize("texts", [("The dog ran.",), ("The ", "c", "ow ran."), ("The cat",), ("X",)])
def test_other_words_begin_anew_and_nothing_of_the_old_text_stays(texts):
    steps = join(Recovery.RESTART, *texts)
    assert [step.reason for step in steps if isinstance(step, events.Restarted)] == ["cut"]
    assert shown(steps, events.Delta) == "".join(texts)


def test_until_it_is_known_to_differ_the_old_text_stays():
    assert join(Recovery.RESTART, "The ", "cat", ends=False) == [events.Delta(BEFORE)]


@pytest.mark.parametrize(("said", "thinking"), [("The dog.", "Hm."), (BEFORE + " it.", "")])
def test_thinking_of_a_new_run_is_shown_only_with_its_text(said, thinking):
    seam = Seam(BEFORE, Recovery.RESTART, "cut")
    steps = [*seam.join(events.Thinking("Hm.")), *seam.join(events.Delta(said))]
    assert shown(steps, events.Thinking) == thinking
