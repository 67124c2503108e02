"""The limits of rendering: time, length and depth; and what is shown when it fails."""

import logging
import threading
import time

import pytest

from chat.rendering import arender, limits, pipeline, render
from chat.rendering.blocks import blocks
from chat.rendering.deadline import Deadline, DeadlineExceeded
from chat.rendering.grammar import parser
from tests.rendering.page import Page, assert_harmless


def test_a_long_text_is_rendered_in_a_child():
    text = "# Title\n\n" + "Some words of a long answer.\n\n" * 7_000
    assert len(text) > pipeline.CHILD_ABOVE_CHARS

    html = render(text)

    assert html.startswith('<h1 dir="auto">Title</h1>')
    assert html.count("<p ") == 7_000


def test_long_code_is_coloured_in_a_child(monkeypatch):
    seen = []
    in_child = pipeline.render_in_child
    monkeypatch.setattr(
        pipeline, "render_in_child", lambda text, *options: seen.append(text) or in_child(text)
    )

    html = render("```python\n" + "return 1\n" * 2_000 + "```")

    assert len(seen) == 1
    assert html.count('<span class="k">return</span>') == 2_000


def test_code_whose_lexer_runs_away_has_no_colours_and_the_rest_is_rendered(monkeypatch):
    monkeypatch.setattr(pipeline, "CHILD_TIME_LIMIT_S", 2.0)

    html = render("**a**\n\n```md\n" + "```md\n" * 5_000)

    assert "<strong>a</strong>" in html
    assert Page(html).text.count("```md") == 5_000


def test_the_child_sees_no_secrets(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    given = {}

    def run(*args, **kwargs):
        given.update(kwargs["env"])
        raise OSError

    monkeypatch.setattr(pipeline.subprocess, "run", run)
    render("x" * (pipeline.CHILD_ABOVE_CHARS + 1))

    assert "OPENAI_API_KEY" not in given


def test_text_that_takes_too_long_is_returned_unrendered(monkeypatch):
    monkeypatch.setattr(pipeline, "TIME_LIMIT_S", -1)
    monkeypatch.setattr(pipeline, "CHILD_TIME_LIMIT_S", 0.001)

    assert render("**a** <b>") == '<pre class="plain" dir="auto">**a** &lt;b&gt;</pre>'


@pytest.mark.parametrize(
    "hostile",
    [
        ">" * 20_000 + "a",
        "\n".join(">" * depth + " a" for depth in range(200)),
        "".join("  " * depth + "- a\n" for depth in range(200)),
        "- " * 5_000,
        "*" * 20_000,
        "[" * 5_000 + "a" + "](b)" * 5_000,
        "![" * 5_000,
        "`" * 5_000 + "a",
        "".join("`" * length + " " for length in range(200)),
        "<" * 20_000,
        "&" * 20_000,
        "|" * 5_000 + "\n" + "|-" * 5_000,
        "https://" * 5_000,
        "http://" + ")" * 20_000,
        "a://" * 5_000,
        "http://a.b/" + "(x" * 10_000,
        "http://a.b/" + "[x" * 10_000,
        "http://a.b/" + "'x" * 10_000,
        "http://" + "a." * 10_000,
        "http://" + "a@" * 10_000,
        "```c\n" + "/*" * 4_000 + "\n```",
        "```java\n" + " a" * 25_000 + "\n```",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_text_ends_soon_and_loses_no_character(hostile, monkeypatch):
    monkeypatch.setattr(pipeline, "CHILD_TIME_LIMIT_S", 2.0)

    begun = time.monotonic()
    html = render(hostile)

    assert time.monotonic() - begun < 20
    assert_harmless(html)
    if html.startswith('<pre class="plain"'):
        assert Page(html).text.strip("\n") == hostile.strip("\n")


def test_a_block_that_is_nested_too_deep_is_plain_and_the_others_are_not():
    text = "\n".join(">" * depth + " word" for depth in range(1, 60))

    assert Page(render(text)).text.strip() == text
    assert "<strong>b</strong>" in render(f"{text}\n\n**b**")


def test_nothing_is_lost_after_the_limits():
    text = "a *word*\n\n" * 10_000 + "the end"
    page = Page(render(text))

    assert len(page.tags) < limits.MAX_ELEMENTS + 100
    assert page.text.count("word") == 10_000
    assert page.text.rstrip().endswith("the end")


def test_long_code_and_plain_text_are_divided_into_parts():
    code = "x = 1\n" * 5_000
    page = Page(render(f"```py\n{code}```"))
    parts = [attributes for attributes in page.all("span") if attributes.get("class") == "part"]

    assert page.text.strip("\n") == code.strip("\n")
    assert len(parts) == -(-len(code) // limits.PART_CHARS)


def test_after_a_crash_of_the_parser_the_text_is_shown_and_not_logged(monkeypatch, caplog):
    def crash(*args, **kwargs):
        raise RuntimeError("my secret diary")

    monkeypatch.setattr(pipeline, "to_html", crash)
    with caplog.at_level(logging.WARNING, logger="chat.rendering.pipeline"):
        html = render("my secret diary <b>")

    assert html == '<pre class="plain" dir="auto">my secret diary &lt;b&gt;</pre>'
    assert "RuntimeError" in caplog.text
    assert "diary" not in caplog.text


@pytest.mark.parametrize(
    "text", ["**a**", "[" * 250 + "]" * 250, "> " * 250, "```py\na = 1\n```", "a\n\n" * 400]
)
async def test_rendering_leaves_the_event_loop_free(text):
    assert await arender(text) == render(text)


@pytest.mark.parametrize("text", ["**a**", "**a** `b`", "a " * 300])
async def test_only_short_texts_without_code_are_rendered_on_the_event_loop(monkeypatch, text):
    threads = []
    to_html = pipeline.to_html
    monkeypatch.setattr(
        pipeline, "to_html", lambda *args: threads.append(threading.get_ident()) or to_html(*args)
    )
    await arender(text)
    assert (threads == [threading.get_ident()]) is (text == "**a**")


async def test_a_short_text_that_takes_long_is_rendered_off_the_event_loop(monkeypatch):
    threads = []

    def slow(text, deadline):
        threads.append(threading.get_ident())
        if len(threads) == 1:
            raise DeadlineExceeded
        return "done"

    monkeypatch.setattr(pipeline, "to_html", slow)
    assert await arender("**a**") == "done"
    assert threads[0] == threading.get_ident() != threads[1]


def test_each_text_has_its_own_deadline():
    late, early = parser(Deadline(-1)), parser(Deadline(60))
    assert len([*blocks(early, "a")]) == 1
    with pytest.raises(DeadlineExceeded):
        [*blocks(late, "a")]
