"""Markdown to HTML: blocks, emphasis, tables and code."""

import re

from chat.rendering import highlight, render
from chat.rendering.deadline import Deadline
from tests.rendering.page import Page


def test_paragraphs_headings_and_emphasis_are_drawn():
    html = render("# Title\n\nSome *soft*, **loud** and ~~old~~ words.")

    assert '<h1 dir="auto">Title</h1>' in html
    assert "<em>soft</em>" in html
    assert "<strong>loud</strong>" in html
    assert "<s>old</s>" in html


def test_a_line_break_stays_a_line_break():
    assert "roses<br>\nviolets" in render("roses\nviolets")


def test_lists_keep_their_start_and_their_nesting():
    html = render("3. three\n4. four\n   - inner\n")

    assert '<ol start="3" dir="auto">' in html
    assert re.search(r"four\s*<ul>\s*<li>inner</li>", html)


def test_quotes_and_rules_are_drawn():
    html = render("> said\n\n---\n")

    assert '<blockquote dir="auto">' in html
    assert "<hr>" in html


def test_a_table_scrolls_in_its_own_box_and_is_aligned_by_class():
    html = render("| a | b | c |\n|:--|:-:|--:|\n| 1 | 2 | 3 |\n")

    assert '<div class="table" tabindex="0"><table dir="auto">' in html
    assert '<td class="center">2</td>' in html
    assert '<td class="right">3</td>' in html
    assert "style" not in html


def test_code_says_its_language_and_is_coloured_by_class():
    html = render('```python title="x.py"\ndef f():\n    return "a<b"\n```')

    assert (
        '<div class="code" dir="ltr" data-language="python" data-title="python title=&quot;x.py&quot;">'
        in html
    )
    assert '<span class="k">def</span> <span class="nf">f</span>' in html
    assert '<span class="s">"a&lt;b"</span>' in html
    assert "style" not in html


def test_code_in_an_unknown_language_is_shown_without_colours():
    html = render("```klingon\n<Qapla'>\n```")

    assert 'data-language="klingon"' in html
    assert "<code>&lt;Qapla'&gt;\n</code>" in html


def test_code_that_an_answer_never_closed_is_still_code():
    assert "<code>x = " in render("```\nx = 1")


def test_every_supported_language_has_a_lexer():
    for language in highlight.LANGUAGES:
        assert highlight.highlight("a = 1\n", language, Deadline(10))


def test_code_keeps_every_character():
    code = "\n\n  if a < b && c:\n\tpass  # é 漢 \U0001f600\n\n"
    for language in ("python", "c", "klingon", ""):
        assert code in Page(render(f"```{language}\n{code}```")).text


def test_a_block_runs_the_way_its_text_does_and_code_from_left_to_right():
    html = render("مرحبا\n\n- واحد\n\n```\nx\n```")

    assert '<p dir="auto">' in html
    assert '<ul dir="auto">' in html
    assert '<div class="code" dir="ltr"' in html


def test_nul_and_lone_surrogates_are_cleaned():
    assert render("a\x00b\ud800c") == '<p dir="auto">ab�c</p>\n'
