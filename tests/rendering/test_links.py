"""Links: bare URLs, images as links, and what a followed link reveals."""

from urllib.parse import unquote

import pytest

from chat.rendering import render
from tests.rendering.page import Page


def test_links_open_in_a_new_tab_and_send_no_referrer():
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
        ("**https://example.org/a**", "https://example.org/a"),
        ("_https://example.org/a_", "https://example.org/a"),
        ("https://example.org/*a*/b_c_", "https://example.org/*a*/b_c"),
        ("https://xn--mnchen-3ya.example/%C3%BC", "https://xn--mnchen-3ya.example/%C3%BC"),
    ],
)
def test_urls_in_the_text_are_links(text, url):
    page = Page(render(text))

    assert [link["href"] for link in page.all("a")] == [url]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("详情见 https://example.org/guide（第三章），谢谢。", ["/guide"]),
        ("已经写好：https://example.org/notes/12，明天再看", ["/notes/12"]),
        ("「https://example.org/a」と、https://example.org/日本語。", ["/a", "/日本語"]),
    ],
)
def test_a_url_ends_before_full_width_punctuation(text, paths):
    page = Page(render(text))

    assert [unquote(link["href"]) for link in page.all("a")] == [
        f"https://example.org{path}" for path in paths
    ]
    assert page.text.strip() == text


@pytest.mark.parametrize(
    "text", ["//example.org/a", "ftp://example.org/a", "www.example.org", "a@example.org"]
)
def test_text_that_is_no_http_url_is_no_link(text):
    assert Page(render(text)).all("a") == []


def test_a_url_in_code_or_in_a_link_is_left_alone():
    assert render("`https://example.org`").count("<a ") == 0
    assert render("[https://example.org](https://example.com)").count("<a ") == 1


def test_an_image_becomes_a_link_so_that_nothing_is_fetched():
    page = Page(render("![a cat](https://example.org/cat.png)"))

    assert [link["href"] for link in page.all("a")] == ["https://example.org/cat.png"]
    assert page.text.strip() == "a cat"
    assert not page.all("img")


def test_an_image_in_a_link_becomes_the_links_text():
    page = Page(render("[![a cat](https://example.org/cat.png)](https://example.com/)"))

    assert [link["href"] for link in page.all("a")] == ["https://example.com/"]
    assert page.text.strip() == "a cat"
