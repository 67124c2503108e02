"""Formulas are drawn as MathML; what cannot be drawn stays as it was written."""

import pytest

from chat.rendering import render
from chat.rendering.mathml import MAX_ELEMENTS_OF_ALL
from tests.rendering.page import Page


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (r"\(a^2\)", "<msup><mi>a</mi><mn>2</mn></msup>"),
        (r"so $\frac{1}{2}$ is", "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>"),
        ("$$\n\\sqrt{x}\n$$", '<math display="block"><mrow><msqrt>'),
        (r"\[ \lim_{x \to 0} f \]", "<munder><mo>lim</mo>"),
        (r"\(\lim_{x \to 0} f\)", "<msub><mo>lim</mo>"),
        (r"as \[ E = mc^2 \] says", '<math display="block">'),
        ("\\[\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n\\]", "</mtr><mtr>"),
        ("\\begin{align*}\na &= b\\tag{1} \\\\\nc &= d\n\\end{align*}", "</mtr><mtr>"),
        ("\\[\\begin{gathered} a \\\\ b \\end{gathered}\\]", "</mtr><mtr>"),
        (r"\(\begin{pmatrix} 1 & 2 \end{pmatrix}\)", "<mtd><mn>2</mn></mtd>"),
        (r"\(\text{if } a < b\)", "<mtext>if&nbsp;</mtext>"),
    ],
)
def test_formulas_are_drawn_and_keep_their_source(text, drawn):
    html = render(text)
    assert drawn in html
    assert "data-tex=" in html


@pytest.mark.parametrize(
    "formula",
    [
        r"\(x^{\)",
        r"\(\frac{1}\)",
        r"\(a & b\)",
        "$$" + "{" * 60 + "x" + "}" * 60 + "$$",
        r"\(" + "x+" * 1_000 + r"\)",
        r"\(\begin{aligned} a &= b\)",
    ],
)
def test_what_cannot_be_drawn_stays_as_it_was_written(formula):
    page = Page(render(f"See {formula} there."))
    assert formula in page.text
    assert not page.all("math")


@pytest.mark.parametrize(
    "formula",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{<b>x</b>} < \text{<script>}",
        r"\hspace{9999cm} x",
        r"\rule{9999cm}{9999cm}",
        r"\color{red}{x}",
        r"\class{chat}{x} \style{position:fixed}{x}",
    ],
)
def test_a_formula_brings_no_links_markup_or_sizes(formula):
    html = render(f"\\({formula}\\)")
    shown = html.split(">", 2)[2] if "data-tex" in html else html
    for forbidden in ("<img", "<script", "<b>", "href=", '9999cm"', "color=", "style=", 'class="chat'):
        assert forbidden not in shown


def test_money_is_no_formula():
    assert "<math" not in render("It costs $5 and $10, or US$5.")


def test_the_formulas_of_a_text_have_a_limit_together():
    html = render(r"\(a_1 + b_2 + c_3 + d_4\) " * 2_000)
    assert html.count("<m") < 2 * MAX_ELEMENTS_OF_ALL
    assert html.count('class="formula"') == 2_000 or "plain" in html
