"""While an answer is written and when it is final, the page shows the same words in the same structure."""

import difflib
import json
import random
import re

import pytest

from chat.rendering import limits, render
from chat.rendering.blocks import blocks, normalize
from chat.rendering.deadline import Deadline
from chat.rendering.grammar import parser
from tests.rendering.texts import FRAGMENTS, HOSTILE, SPEC, TEXTS
from tests.support.environment import repeats
from tests.support.rendering_page import ROOT, open_page

pytestmark = pytest.mark.browser


@pytest.fixture
def views(page):
    """Return a page that can load the chat's renderer."""
    open_page(page)
    return page


def assert_alike(views, cases):
    script = "async cases => (await import('/tests/rendering/compare.js')).compared(cases)"
    result = views.evaluate(script, cases)
    for found in result["found"]:
        lines = difflib.unified_diff(
            found["server"].split("\n"), found["drawn"].split("\n"), "server", "page", n=2
        )
        pytest.fail(
            f"{found['text'][:300]!r} at {found['at']}:\n" + "\n".join(line[:300] for line in [*lines][:40]),
            pytrace=False,
        )

    for size in result["sizes"]:
        # More would crash or freeze a browser. Long plain text has some more boxes.
        assert size["elements"] < limits.MAX_ELEMENTS + 200
        assert size["depth"] < limits.MAX_NESTING + limits.MAX_INLINE_NESTING


def case(text, rng, *, with_prefixes=True):
    """Return a text with the ends of its pieces, and the server's HTML at each end of a block."""
    # The page counts UTF-16 units.
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    ends = (
        sorted(rng.sample(range(1, units), min(units - 1, rng.choice([3, 20, units])))) if units > 1 else []
    )
    prefixes = {}
    if with_prefixes:
        for end in block_ends(text):
            unit = len(text[:end].encode("utf-16-le", "surrogatepass")) // 2
            prefixes[unit] = render(text[:end])
    pieces = sorted({*ends, *prefixes} - {0, units})
    return {
        "text": text,
        "pieces": pieces,
        "prefixes": {str(key): html for key, html in prefixes.items()},
        "html": render(text),
    }


def block_ends(text):
    """Return where blocks end: before a blank line that another block follows."""
    if normalize(text) != text:
        return []
    found = list(blocks(parser(Deadline(10)), text))
    # Blank lines before the first block belong to none.
    offset, ends = len(text) - sum(len(block.source) for block in found), []
    for block in found[:-1]:
        offset += len(block.source)
        ends.append(offset)
    return ends


def test_each_text_is_shown_alike_while_it_is_written_and_when_it_is_final(views):
    rng = random.Random(1)
    cases = [case(text, rng) for text, _words in TEXTS.values() for _ in range(3)]

    assert_alike(views, cases)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_shown_alike(views, name):
    assert_alike(views, [case(HOSTILE[name], random.Random(1), with_prefixes=False)])


def test_the_limits_of_both_views_are_equal():
    source = (ROOT / "static/chat/rendering/limits.js").read_text()
    in_page = {
        name: int(value.replace("_", "")) for name, value in re.findall(r"const (\w+) = ([\d_]+);", source)
    }

    assert in_page == {name: value for name, value in vars(limits).items() if name.isupper()}


@pytest.mark.parametrize("name", ["commonmark-0.31.2", "gfm-0.29"])
def test_the_examples_of_the_specifications_are_shown_alike(views, name):
    rng = random.Random(2)
    assert_alike(views, [case(text, rng) for text in json.loads((SPEC / f"{name}.json").read_text())])


def test_random_texts_are_shown_alike(views):
    rng = random.Random(3)
    texts = ["".join(rng.choices(FRAGMENTS, k=rng.randrange(2, 14))) for _ in range(repeats(400))]
    assert_alike(views, [case(text, rng) for text in texts])
