"""Reasoning between tags in the text of an answer."""

import random

import pytest

from tests.upstream.scripted import DONE, answer_to, piece

# What the model sends -> reasoning, answer.
CASES = {
    "<think>\nTwo and two.\n\n- step one\n</think>\n\nIt is 4.": ("Two and two.\n\n- step one\n", "It is 4."),
    "<thought>I reason.</thought>The answer.": ("I reason.", "The answer."),
    "\n<reasoning>Hm.</reasoning>\n\nYes.": ("Hm.", "Yes."),
    "<THINK>Hm.</THINK> Yes.": ("Hm.", "Yes."),
    "<thinking>a < b</thinking>Yes: a < b.": ("a < b", "Yes: a < b."),
    "<think>One.</think><think>Two.</think>Yes.": ("One.Two.", "Yes."),
    "<think></think>Yes.": ("", "Yes."),
    "<think>never closed": ("never closed", ""),
    "<think>never closed </thi": ("never closed </thi", ""),
    "I ponder.\n</think>\n\nYes.": ("I ponder.\n", "Yes."),
    "I ponder. It takes `a` and `b`.</think>Yes.": ("I ponder. It takes `a` and `b`.", "Yes."),
    "Use `<think>` tags:\n\n```\n<think>x</think>\n```\n": (
        "",
        "Use `<think>` tags:\n\n```\n<think>x</think>\n```\n",
    ),
    "Close it with `</think>` then.": ("", "Close it with `</think>` then."),
    "```\n</think>\n```\nis the tag.": ("", "```\n</think>\n```\nis the tag."),
    "Between <think> and </think> models reason.": ("", "Between <think> and </think> models reason."),
    "a <b and </b> c <": ("", "a <b and </b> c <"),
    "<thinker>no tag</thinker>": ("", "<thinker>no tag</thinker>"),
    "  indented": ("", "  indented"),
    "<": ("", "<"),
    "no answer yet </thin": ("", "no answer yet </thin"),
}


@pytest.mark.parametrize("sent", CASES)
def test_tags_split_anywhere_separate_reasoning_from_the_answer(sent):
    rng = random.Random(sent)
    for step in (1, 2, 3, 7, len(sent)):
        pieces = [sent[n : n + step] for n in range(0, len(sent), step)]
        answer = answer_to([*map(piece, pieces), piece(finish="stop"), DONE])
        assert (answer.thinking, answer.text) == CASES[sent], pieces
        assert answer.reason == "stop"
    for _n in range(20):
        cuts = sorted(rng.sample(range(len(sent) + 1), min(3, len(sent))))
        pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
        answer = answer_to([*map(piece, pieces), piece(finish="stop"), DONE])
        assert (answer.thinking, answer.text) == CASES[sent], pieces
