"""Where our grammar differs from CommonMark: no word, backslash or number of a model is lost."""

import pytest

from chat.rendering import render
from tests.rendering.page import Page
from tests.rendering.texts import TEXTS


@pytest.mark.parametrize("name", TEXTS)
def test_the_words_of_a_text_are_seen(name):
    text, words = TEXTS[name]

    assert words in Page(render(text)).text


@pytest.mark.parametrize(
    ("text", "strong"),
    [
        ("**提示：**明天会下雨。", "提示："),
        ("他说**“好的”**就走了。", "“好的”"),
        ("- **第一步：**关灯", "第一步："),
        ("**คำ:**ต่อไป", "คำ:"),
        ("**단어(word)**는", "단어(word)"),
        ("これは**「強調」**です", "「強調」"),
        ("**plain** words", "plain"),
    ],
)
def test_emphasis_ends_beside_scripts_without_spaces(text, strong):
    assert f"<strong>{strong}</strong>" in render(text)


@pytest.mark.parametrize(
    "text",
    ["__init__ and __name__", "load_user_data", "2*3*4", "2**3**4", "x*2*y", "a * b * c", "5~6 and 7~8"],
)
def test_names_and_products_are_no_emphasis(text):
    assert render(text) == f'<p dir="auto">{text}</p>\n'


@pytest.mark.parametrize(
    "text",
    [
        r"D:\data\_old\.cache\run-1.txt",
        r"\\server\share\_x",
        r"C:\Program Files (x86)\_tools\#1",
        r".\.venv\Scripts\activate",
        r"src\.env",
        r"%APPDATA%\_x",
        r"~\.ssh",
        r"C:\\Users\\me\\_x",
        r"\d+\.\d*",
        r"\(x_1 * y_2 * z\)",
        r"\[ a \\ b_1 _c_ \]",
        r"\begin{cases} a & b_1 \\ c \end{cases}",
        "$$a_1 * b * c$$",
        "$x_i^*$ and $y_i^*$",
        "$5 and $10",
        r"\(not closed",
        r"\{a, b\}",
    ],
)
def test_paths_and_formulas_stay_as_written(text):
    assert Page(render(f"See {text} there.")).text.strip() == f"See {text} there."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"snake\_case", "snake_case"),
        (r"\*a\*", "*a*"),
        (r"5\%", "5%"),
        (r"\$5", "$5"),
        (r"C\#", "C#"),
        (r"1986\. A", "1986. A"),
    ],
)
def test_other_backslashes_are_escapes(text, shown):
    assert Page(render(text)).text.strip() == shown


def test_lines_of_a_formula_are_no_markdown():
    text = "\\[\nx\n=\n- y\n# z\n\\]"

    [formula] = Page(render(f"a\n{text}\nb")).all("div")
    assert formula == {"class": "formula", "dir": "ltr", "data-tex": text}
    assert text in Page(render(f"a\n{text}\nb")).text


def test_a_block_of_markdown_holds_blocks_of_code():
    inner = "# Kettle\n\nInstall:\n\n```sh\npip install kettle\n```\n\nor\n\n```\nplain\n```\n\n## Use\n"
    html = render(f"Here:\n\n```markdown\n{inner}```\n\nShall I go on?")

    assert html.count("<pre") == 1
    assert inner in Page(html).text
    assert '<p dir="auto">Shall I go on?</p>' in html


def test_code_that_mentions_a_fence_is_one_block():
    html = render('```python\nPROMPT = """\n```json\n{}\n```\n"""\n```\n\nDone.')

    assert html.count("<pre") == 1
    assert '<p dir="auto">Done.</p>' in html


def test_two_blocks_of_code_are_two():
    html = render("```py\na\n```\n\ntext\n\n```sh\nb\n```\n")

    assert html.count("<pre") == 2
    assert '<p dir="auto">text</p>' in html


def test_tags_that_models_write_are_tags_and_others_are_text():
    html = render(
        "| a |\n|---|\n| Wash<br>Dry<br/>Fold |\n\nH<sub>2</sub>O<sup>+</sup> <kbd>x</kbd> <b>c</b> <sub>"
    )

    assert "Wash<br>\nDry<br>\nFold" in html
    assert "H<sub>2</sub>O<sup>+</sup> <kbd>x</kbd> &lt;b&gt;c&lt;/b&gt; &lt;sub&gt;" in html


def test_definitions_stay_visible_and_make_links():
    text = (
        'Rain is likely [1].\n\n[1]: https://example.org/rain "Rain tomorrow"\n[2]: https://example.org/wind'
    )
    page = Page(render(text))

    assert " ".join(page.text.split()) == " ".join(text.split())
    assert [link["href"] for link in page.all("a")].count("https://example.org/rain") == 3
    assert {
        "href": "https://example.org/wind",
        "rel": "noopener noreferrer nofollow",
        "target": "_blank",
    } in page.all("a")


def test_a_pipe_in_code_ends_no_cell_and_no_cell_is_left_out():
    html = render("| a | b |\n|---|---|\n| `x | y` | c | d | e |\n| `C:\\` | `D:\\` |\n")

    assert "<code>x | y</code>" in html
    assert "<td>c | d | e</td>" in html
    assert "<td><code>D:\\</code></td>" in html


def test_items_keep_the_numbers_that_they_were_given():
    assert [item.get("value") for item in Page(render("10. a\n9. b\n8. c")).all("li")] == [None, "9", "8"]
    assert [item.get("value") for item in Page(render("1. a\n1. b\n1. c\n4. d")).all("li")] == [None] * 4


def test_a_year_at_the_start_of_a_line_is_no_list():
    assert "born in<br>\n1986. Then" in render("She was born in\n1986. Then she moved.")


def test_tasks_have_boxes():
    boxes = Page(render("- [ ] buy\n- [x] **cook**\n- [y] text")).all("input")

    assert [("checked" in box, box["aria-label"]) for box in boxes] == [(False, "not done"), (True, "done")]


def test_the_info_string_of_code_is_kept():
    assert Page(render("```js:src/a.js\n1\n```")).all("div")[0]["data-title"] == "js:src/a.js"
