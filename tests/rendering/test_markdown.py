"""Markdown to safe HTML: what is drawn, what is never let through, and how long it may take."""

import logging
import re
import time
from html.parser import HTMLParser

import pytest

from chat.rendering import markdown as rendering
from chat.rendering.markdown import arender, render

URL_ATTRIBUTES = {"href", "src", "action", "formaction", "data", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """Collects what a browser would make of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# -- what is drawn --------------------------------------------------------------------------------


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

    assert '<div class="code" dir="ltr" data-language="python"><pre tabindex="0"><code>' in html
    assert '<span class="k">def</span> <span class="nf">f</span>' in html
    assert '<span class="s">"a&lt;b"</span>' in html
    assert "style" not in html


def test_code_in_an_unknown_language_is_shown_without_colours():
    html = render("```klingon\n<Qapla'>\n```")

    assert 'data-language="klingon"' in html
    assert "<code>&lt;Qapla'&gt;\n</code>" in html


def test_code_that_an_answer_never_closed_is_still_code():
    assert "<code>x = " in render("```\nx = 1")


def test_every_language_on_the_list_has_a_lexer():
    for language in rendering._LEXERS:
        assert rendering._coloured("a = 1\n", language, rendering.Deadline(10))


def test_code_keeps_every_character():
    code = "\n\n  if a < b && c:\n\tpass  # é 漢 \U0001f600\n\n"
    for language in ("python", "c", "klingon", ""):
        assert code in Page(render(f"```{language}\n{code}```")).text


def test_a_block_runs_the_way_its_text_does_and_code_from_left_to_right():
    html = render("مرحبا\n\n- واحد\n\n```\nx\n```")

    assert '<p dir="auto">' in html
    assert '<ul dir="auto">' in html
    assert '<div class="code" dir="ltr"' in html


def test_links_open_elsewhere_and_tell_nothing():
    (link,) = Page(render("[x](https://example.org/a)")).all("a")

    assert link == {
        "href": "https://example.org/a",
        "rel": "noopener noreferrer nofollow",
        "target": "_blank",
    }


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("see https://example.org/a.", "https://example.org/a"),
        ("(see https://example.org/a_(b))", "https://example.org/a_(b)"),
        ("https://example.org/?a=1&b=2, or", "https://example.org/?a=1&b=2"),
        ("<https://example.org/>", "https://example.org/"),
        ("<ada@example.org>", "mailto:ada@example.org"),
    ],
)
def test_urls_in_the_text_are_links(text, url):
    page = Page(render(text))

    assert [link["href"] for link in page.all("a")] == [url]


def test_a_url_in_code_or_in_a_link_is_left_alone():
    assert render("`https://example.org`").count("<a ") == 0
    assert render("[https://example.org](https://example.com)").count("<a ") == 1


def test_an_image_becomes_a_link_so_that_nothing_is_fetched():
    page = Page(render("![a cat](https://example.org/cat.png)"))

    assert [link["href"] for link in page.all("a")] == ["https://example.org/cat.png"]
    assert page.text.strip() == "a cat"
    assert not page.all("img")


def test_an_image_in_a_link_is_the_links_words():
    page = Page(render("[![a cat](https://example.org/cat.png)](https://example.com/)"))

    assert [link["href"] for link in page.all("a")] == ["https://example.com/"]
    assert page.text.strip() == "a cat"


def test_nul_and_lone_surrogates_are_cleaned():
    assert render("a\x00b\ud800c") == '<p dir="auto">ab�c</p>\n'


# -- what is never let through --------------------------------------------------------------------

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '<math><mi//xlink:href="javascript:alert(1)">',
    '<a href="javascript:alert(1)">x</a>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>body{display:none}</style>",
    '<p style="position:fixed" class="composer" id="composer" hx-get="/x">x</p>',
    "<!--><img src=x onerror=alert(1)>-->",
    "<form action=//evil><input name=x></form>",
    "<base href=//evil>",
    "<meta http-equiv=refresh content='0;url=//evil'>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example/)",
    "[x](/signout)",
    "[x](?next=1)",
    "[x]\n\n[x]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zy8+)",
    '![x" onerror="alert(1)](https://example.org/a.png)',
    '[x](https://example.org "t\\" onmouseover=alert(1)")',
    '[x](https://example.org/"onmouseover=alert(1))',
    "https://example.org/\"onmouseover='alert(1)'",
    '```"><img src=x onerror=alert(1)>\nx\n```',
    '```python" onclick="alert(1)\nx\n```',
    "```' onclick='alert(1)'\nx\n```",
    "```html\n<script>alert(1)</script>\n```",
    "```js\n</code></pre></div><script>alert(1)</script>\n```",
    "```<script>\n```",
    "    <script>alert(1)</script>",
    "`<script>alert(1)</script>`",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "# <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
]


def assert_harmless(html):
    for tag, attributes in Page(html).tags:
        assert tag in rendering._ALLOWED_TAGS
        assert set(attributes) <= {
            "href",
            "rel",
            "target",
            "class",
            "dir",
            "data-language",
            "start",
            "tabindex",
            "title",
        }
        for name in URL_ATTRIBUTES & set(attributes):
            assert re.match(r"(https?|mailto):", attributes[name] or "")
        for name in (attributes.get("class") or "").split():
            assert name in rendering._ALLOWED_CLASSES[tag]
        assert re.fullmatch(r"[\w+#.-]*", attributes.get("data-language") or "")


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_comes_out_harmless(attack):
    assert_harmless(render(attack))
    assert_harmless(render(f"Hello\n\n- {attack}\n\n> {attack}\n"))
    assert_harmless(rendering._plain(attack))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_sanitiser_alone_stops_what_the_parser_would_let_through(attack):
    assert_harmless(rendering._sanitised(attack))


def test_raw_html_is_shown_as_text():
    assert "<b>bold</b>" in Page(render("Use <b>bold</b> here.")).text


# -- how long it may take -------------------------------------------------------------------------


def test_a_long_text_is_rendered_in_a_child():
    text = "# Title\n\n" + "Some **words** of a long answer.\n\n" * 7_000
    assert len(text) > rendering.CHILD_ABOVE_CHARS

    html = render(text)

    assert html.startswith('<h1 dir="auto">Title</h1>')
    assert html.count("<strong>words</strong>") == 7_000


def test_long_code_is_coloured_in_a_child(monkeypatch):
    seen = []
    in_child = rendering._in_child
    monkeypatch.setattr(rendering, "_in_child", lambda text: seen.append(text) or in_child(text))

    html = render("```python\n" + "return 1\n" * 2_000 + "```")

    assert len(seen) == 1
    assert html.count('<span class="k">return</span>') == 2_000


def test_the_child_sees_no_secrets(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    given = {}

    def run(*args, **kwargs):
        given.update(kwargs["env"])
        raise OSError

    monkeypatch.setattr(rendering.subprocess, "run", run)
    render("x" * (rendering.CHILD_ABOVE_CHARS + 1))

    assert "OPENAI_API_KEY" not in given


def test_what_takes_too_long_comes_back_as_it_is(monkeypatch):
    monkeypatch.setattr(rendering, "CHILD_TIME_LIMIT_S", 0.3)
    hostile = "[" * 150_000 + "<b>"

    begun = time.monotonic()
    html = render(hostile)

    assert html == '<pre class="plain" dir="auto">' + "[" * 150_000 + "&lt;b&gt;</pre>"
    # Not a measure of speed: unbounded, it takes minutes.
    assert time.monotonic() - begun < 10


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
        "```c\n" + "/*" * 4_000 + "\n```",
        "```java\n" + " a" * 25_000 + "\n```",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_text_ends_soon_and_loses_no_character(hostile, monkeypatch):
    monkeypatch.setattr(rendering, "CHILD_TIME_LIMIT_S", 2.0)

    begun = time.monotonic()
    html = render(hostile)

    assert time.monotonic() - begun < 20
    assert_harmless(html)
    if html.startswith('<pre class="plain"'):
        assert Page(html).text == hostile


def test_what_is_nested_too_deep_is_shown_as_it_is():
    text = "\n".join(">" * depth + " word" for depth in range(1, 60))

    assert Page(render(text)).text == text


def test_a_crash_of_the_parser_shows_the_text_and_logs_none_of_it(monkeypatch, caplog):
    def crash(*args, **kwargs):
        raise RuntimeError("my secret diary")

    monkeypatch.setattr(rendering, "_to_html", crash)
    with caplog.at_level(logging.WARNING, logger="chat.rendering.markdown"):
        html = render("my secret diary <b>")

    assert html == '<pre class="plain" dir="auto">my secret diary &lt;b&gt;</pre>'
    assert "RuntimeError" in caplog.text
    assert "diary" not in caplog.text


async def test_rendering_leaves_the_event_loop_free():
    assert await arender("**a**") == render("**a**")
