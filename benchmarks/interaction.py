"""Measure interaction to next paint on a slow machine: a long conversation, and a list of many conversations.

python -m benchmarks.interaction

Measured twice: as the page is opened, and with all messages and all conversations loaded. The browser's CPU
is slowed down four times. A measured time is what the browser reports for an event: from the input to the
next paint, in steps of 8 ms. Also measured: how much the page shifts while an answer is written.
"""

from collections.abc import Callable

from playwright.sync_api import Page

from benchmarks import environment, report
from benchmarks.browser import chromium
from benchmarks.long_conversation import MAKE

MESSAGES = 2_000
CONVERSATIONS = 5_000
SLOWDOWN = 4
INTERACTION_MAX_S = 0.2
SHIFT_MAX = 0.02

MAKE_LIST = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from chat.models import Conversation
user = get_user_model().objects.get(username="ada")
now = timezone.now()
Conversation.objects.bulk_create(
    Conversation(user=user, title=f"Chat {{n}} about this and that", updated_at=now - timedelta(hours=n))
    for n in range({count})
)
"""
WATCH = """() => {
  window.events_ = [];
  window.shift_ = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.interactionId) window.events_.push(entry.duration);
  }).observe({ type: "event", durationThreshold: 16 });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift_ += entry.value;
  }).observe({ type: "layout-shift" });
}"""
NEXT_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))"
ANSWER = (
    r"A list:\n\n1. one\n2. two\n\n```python\nprint(1)\nprint(2)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    + r"and more words " * 40
)


def measured(page: Page, act: Callable[[], None]) -> list[float]:
    """Return the times of the interactions of `act` in seconds; one of 0 if none took 16 ms."""
    page.evaluate("() => { window.events_.length = 0 }")
    act()
    # The browser reports an event some frames after its paint.
    page.wait_for_timeout(500)
    return [duration / 1000 for duration in page.evaluate("() => window.events_")] or [0.0]


def type_words(page: Page) -> None:
    page.locator("#text").focus()
    page.keyboard.type("The quick brown fox jumps over it. ", delay=40)


def palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("about", delay=60)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")


def walk_list(page: Page) -> None:
    page.locator(".conversation-item > a").first.focus()
    for _ in range(15):
        page.keyboard.press("ArrowDown")


def open_menus(page: Page) -> None:
    for _ in range(3):
        page.locator(".conversation-item .options-button").first.click()
        page.keyboard.press("Escape")


def toggle_list(page: Page) -> None:
    for _ in range(4):
        page.locator(".drawer-open").click()


def stream(page: Page) -> float:
    """Send a message, and return how much the page shifts until its answer is final."""
    page.locator("#text").fill(f"[[text={ANSWER}]] [[rate=60]]")
    # The composer has grown with the text, which no user could type at once.
    page.evaluate(NEXT_FRAMES)
    page.evaluate("() => { window.shift_ = 0 }")
    page.keyboard.press("Enter")
    page.wait_for_selector("article.answer.is-active")
    page.wait_for_selector("article.answer.is-active", state="detached", timeout=120_000)
    page.wait_for_timeout(1_000)
    return float(page.evaluate("() => window.shift_"))


ACTS: tuple[tuple[str, Callable[[Page], None]], ...] = (
    ("typing a message", type_words),
    ("the palette: open, search, close", palette),
    ("arrows through the list", walk_list),
    ("the menu of a conversation", open_menus),
    ("hiding and showing the list", toggle_list),
)


# As a reader loads them by scrolling.
LOAD_MESSAGES = """async () => {
  for (let link; (link = document.querySelector("[data-older]"));) {
    link.click();
    while (link.isConnected) await new Promise((done) => setTimeout(done, 5));
  }
}"""
LOAD_LIST = """async () => {
  const list = document.getElementById("conversations");
  for (let link; (link = list.querySelector(".more a"));) {
    list.scrollTop = list.scrollHeight;
    while (link.isConnected) await new Promise((done) => setTimeout(done, 5));
  }
}"""


def load_all(page: Page) -> None:
    page.evaluate(LOAD_MESSAGES)
    page.evaluate(LOAD_LIST)
    assert page.locator("article.message").count() >= MESSAGES
    assert page.locator(".conversation-item").count() > CONVERSATIONS


def rows_of(page: Page) -> list[tuple[str, str, str]]:
    found = []
    for name, act in ACTS:
        times = measured(page, lambda act=act: act(page))  # type: ignore[misc]  # mypy knows no bound default
        found.append((name, report.spread(times), f"< {report.ms(INTERACTION_MAX_S)}"))
    return found


def measure(page: Page, *, is_all_loaded: bool) -> None:
    if is_all_loaded:
        load_all(page)
    page.evaluate(WATCH)
    slow = page.context.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    rows = rows_of(page)
    shift = stream(page)
    rows.append(("layout shift while an answer is written (CLS)", f"{shift:.4f}", f"< {SHIFT_MAX}"))
    loaded = "everything loaded" if is_all_loaded else "as the page is opened"
    report.table(f"Interaction to next paint, CPU slowed down {SLOWDOWN} times, {loaded}", rows)


def main() -> None:
    with (
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
        chromium() as browser,
    ):
        session = site.sign_in("ada")
        path = f"/c/{site.shell(MAKE.format(count=MESSAGES))}/"
        site.shell(MAKE_LIST.format(count=CONVERSATIONS))
        for is_all_loaded in (False, True):
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            session.enter(context)
            page = context.new_page()
            page.goto(session.base_url + path, wait_until="load")
            measure(page, is_all_loaded=is_all_loaded)
            context.close()


if __name__ == "__main__":
    main()
