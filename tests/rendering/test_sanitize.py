"""Hostile text comes out harmless."""

import pytest

from chat.rendering import render
from chat.rendering.pipeline import plain
from chat.rendering.sanitize import sanitize
from tests.rendering.page import Page, assert_harmless

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


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_comes_out_harmless(attack):
    assert_harmless(render(attack))
    assert_harmless(render(f"Hello\n\n- {attack}\n\n> {attack}\n"))
    assert_harmless(plain(attack))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_sanitiser_alone_stops_what_the_parser_would_let_through(attack):
    assert_harmless(sanitize(attack))


def test_raw_html_is_shown_as_text():
    assert "<b>bold</b>" in Page(render("Use <b>bold</b> here.")).text
