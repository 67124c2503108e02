"""How an answer is drawn: nothing moves when it becomes final, and no text of a model kills the page."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser

# The fake provider's directive reads `\n` as a line break.
RICH = r"""## Plan\n\nSome **bold** text, `code` and \\(x_1 = 2\\).\n\n
- [ ] buy milk\n- [x] cook\n\n  - nested\n\n
1. one\n2. two\n\n```python title="f.py"\ndef f(x):\n    return x + 1\n```\n\n```sh\nls -la\n```\n\n
| Day | To do |\n|---|--:|\n| Monday | Wash<br>Dry |\n\n> A *quote*\n\nمرحبا `tide()` يا عالم\n\n
\\[\n\\frac{a}{b}\n\\]\n\n```js\nlet a;\n```\n\n"""
# Place and size of each block, from the top of the answer.
PLACES = """root => [...root.children].map(block => {
  const { top, width, height } = block.getBoundingClientRect();
  const values = [top - root.getBoundingClientRect().top, width, height];
  return [block.localName, ...values.map(value => value.toFixed(1))];
})"""


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_moves_when_an_answer_becomes_final(chat, site, width):
    chat.set_viewport_size({"width": width, "height": 900})
    gate = f"final{width}"
    send(chat, f"[[hold={gate} after=12 chars=64]] [[text={RICH}{'And then it is over. ' * 40}]]")
    expect(last_answer(chat)).to_contain_text("And then it is over.")
    expect(chat.locator(".streaming .code-head")).to_have_count(3)
    written = chat.eval_on_selector("article.answer .prose", PLACES)

    release(site.provider, gate)
    wait_until_final(chat)

    final = chat.eval_on_selector("article.answer .prose", PLACES)
    # The last block was not complete. A formula is drawn when the answer is final.
    assert len(written) == 12
    formula = 9
    assert final[:formula] == written[:formula]
    assert [size for _name, _top, *size in final[formula + 1 : 11]] == [
        size for _name, _top, *size in written[formula + 1 : 11]
    ]


def test_the_head_of_code_is_above_its_first_line_while_it_is_written(chat, site):
    send(
        chat,
        "[[hold=head after=4 chars=16]] [[text=```python\\ndef f(x):\\n    return x\\n\\nprint(f(1))\\n```]]",
    )
    head, code = chat.locator(".streaming .code-head"), chat.locator(".streaming code")
    expect(code).to_contain_text("def f(x)")

    assert head.bounding_box()["y"] + head.bounding_box()["height"] <= code.bounding_box()["y"]
    release(site.provider, "head")
    wait_until_final(chat)


@pytest.mark.parametrize("text", ["> " * 5_000, "_a__b*" * 4_000], ids=["quotes", "emphasis"])
def test_a_text_of_endless_nesting_is_shown_while_it_is_written_and_when_it_is_opened_again(chat, text):
    send(chat, f"[[chars=400 rate=200 text={text}]]")
    wait_until_final(chat)
    assert last_answer(chat).text_content().strip() == text.strip()

    chat.reload()

    expect(last_answer(chat).locator(".plain")).to_be_visible()
    assert last_answer(chat).text_content().strip() == text.strip()


def test_code_in_text_from_right_to_left_reads_from_left_to_right(chat):
    send(chat, "[[text=مرحبا `tide()` يا]]")
    wait_until_final(chat)

    style = chat.eval_on_selector(
        ".prose code", "code => [getComputedStyle(code).direction, getComputedStyle(code).unicodeBidi]"
    )
    assert style == ["ltr", "isolate"]
