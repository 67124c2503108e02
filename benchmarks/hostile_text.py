"""Measure how long the page is blocked by texts that a model in a loop may write, in Chromium.

python -m benchmarks.hostile_text [name…]
"""

import sys

from playwright.sync_api import Page

from benchmarks import report
from benchmarks.browser import chromium
from chat.rendering import render
from tests.rendering.texts import HOSTILE
from tests.support.rendering_page import open_page

WANTED_MS = 200
LONG_TASKS = """new Promise((done) => {
  new PerformanceObserver((list) => done(list.getEntries().map((task) => task.duration)))
    .observe({ type: "longtask", buffered: true });
  setTimeout(() => done([0]), 500);
})"""
LARGE = {
    "1 MB in one line": "a" * 1_000_000,
    "1 MB of words": "word " * 200_000,
    "1 MB of one character in RTL": "\u202eא" * 500_000,
    "1 MB of paragraphs": "Some **bold** words and `code`.\n\n" * 30_000,
    "1 MB of code": "```py\n" + "value = compute(1, 'x')  # note\n" * 32_000 + "```\n",
    "1 MB of one list": "- item with *emphasis*\n" * 45_000,
    "1 MB of quotes": "> line\n" * 150_000,
    "100,000 emphasis runs": "*a* " * 100_000,
    "20,000 list items, nested": "- a\n  - b\n" * 10_000,
    "combining characters": ("e" + "\u0301" * 200) * 1_000,
}


def pauses(page: Page, text: str) -> list[float]:
    """Return the longest pauses in ms: text in pieces, text at once, final HTML, scrolling, reopening."""
    html = render(text)
    call = "async ([name, ...rest]) => (await import('/benchmarks/hostile_text.js'))[name](...rest)"
    open_page(page)
    in_pieces = page.evaluate(call, ["written", text])
    replaced = page.evaluate(call, ["replaced", html])
    scrolled = page.evaluate(call, ["scrolled"])
    open_page(page)
    at_once = page.evaluate(call, ["written", text, 1])
    open_page(page, html)
    reopened = max(page.evaluate(LONG_TASKS))
    return [in_pieces, at_once, replaced, scrolled, reopened]


def main() -> None:
    texts = HOSTILE | LARGE
    names = sys.argv[1:] or list(texts)
    rows = []
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        for name in names:
            found = pauses(page, texts[name])
            print(name, [round(ms) for ms in found], file=sys.stderr)
            rows.append(
                (
                    f"{name} ({len(texts[name]) // 1000} kB)",
                    " / ".join(f"{ms:.0f}" for ms in found),
                    f"≤ {WANTED_MS}",
                )
            )
    report.table("Longest pause in ms: in pieces / at once / final / scrolling / reopening", rows)


if __name__ == "__main__":
    main()
