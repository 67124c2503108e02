"""Measure opening, paging, scrolling and typing in a conversation of 2,000 messages.

python -m benchmarks.long_conversation
"""

import time

from playwright.sync_api import Page

from benchmarks import environment, report
from benchmarks.browser import chromium
from tests.support.serving import Session

MESSAGES = 2_000
OPENINGS = 10
OLDER_PAGES = 10

MAKE = """
from django.contrib.auth import get_user_model
from chat import rendering
from chat.models import Conversation, Message

user = get_user_model().objects.get(username="ada")
conversation = Conversation.objects.create(user=user, title="A long one")
answer = '''Here is **what to do**, with `code`:

```python
def double(number):
    return 2 * number  # as simple as that
```

| city | river |
| --- | --- |
| Vienna | Danube |
| Paris | Seine |

1. First, *read*.
2. Then write. ''' + "And a sentence that makes it as long as answers are. " * 8
html = rendering.render(answer)
Message.objects.bulk_create(
    Message(
        pk=number + 1,
        conversation=conversation,
        parent_id=number or None,
        role=("user", "assistant")[number % 2],
        text=answer if number % 2 else f"Question {{number}}, and how do I double it?",
        html=html if number % 2 else "",
    )
    for number in range({count})
)
conversation.leaf_id = {count}
conversation.save()
print(conversation.pk)
"""

WATCH_FRAMES = """() => {
  const frames = (window.frames_ = []);
  let last = 0;
  const look = (now) => {
    if (last) frames.push(now - last);
    last = now;
    window.watching = requestAnimationFrame(look);
  };
  window.watching = requestAnimationFrame(look);
}"""
FRAMES = "() => { cancelAnimationFrame(window.watching); return window.frames_; }"
# A message that is posted in an animation frame arrives after the frame is painted.
WATCH_KEYS = """() => {
  const paints = (window.paints = []);
  document.querySelector("#text").addEventListener("keydown", (event) => {
    const pressed = event.timeStamp;
    requestAnimationFrame(() => {
      const drawn = new MessageChannel();
      drawn.port1.onmessage = () => paints.push(performance.now() - pressed);
      drawn.port2.postMessage(0);
    });
  });
}"""
TIMING = """() => {
  const entry = performance.getEntriesByType("navigation")[0];
  return [entry.responseStart - entry.requestStart, entry.domContentLoadedEventEnd, entry.loadEventEnd];
}"""


def scroll(page: Page) -> list[float]:
    """Scroll up and down for a few seconds; return the times between frames in seconds."""
    page.mouse.move(500, 300)
    page.evaluate(WATCH_FRAMES)
    for step in range(120):
        page.mouse.wheel(0, -300 if step < 60 else 300)
        page.wait_for_timeout(16)
    return [frame_ms / 1000 for frame_ms in page.evaluate(FRAMES)]


def type_text(page: Page) -> list[float]:
    """Type 100 characters; return the times from key to paint in seconds."""
    page.locator("#text").focus()
    page.evaluate("() => (window.paints.length = 0)")
    page.keyboard.type("The quick brown fox jumps over the lazy dog. " * 3, delay=30)
    page.wait_for_timeout(200)
    paints = page.evaluate("() => window.paints")
    page.locator("#text").fill("")
    return [paint_ms / 1000 for paint_ms in paints[:100]]


def older(page: Page) -> list[float]:
    """Load earlier messages repeatedly; return the seconds for each page of messages."""
    times = []
    for _ in range(OLDER_PAGES):
        before = page.locator("chat-transcript article").count()
        began = time.monotonic()
        page.evaluate("() => document.querySelector('[data-older]').click()")
        page.wait_for_function(
            "(before) => document.querySelectorAll('chat-transcript article').length > before", arg=before
        )
        times.append(time.monotonic() - began)
    return times


def requests_s(session: Session, path: str) -> list[float]:
    """Return the seconds of some requests for the page, without a browser."""
    times = []
    for _ in range(OPENINGS):
        began = time.monotonic()
        assert session.get(path).status == 200
        times.append(time.monotonic() - began)
    return times


def main() -> None:
    with (
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
        chromium() as browser,
    ):
        session = site.sign_in("ada")
        path = f"/c/{site.shell(MAKE.format(count=MESSAGES))}/"
        session.get(path)
        served = requests_s(session, path)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        session.enter(context)
        page = context.new_page()
        timings = []
        for _ in range(OPENINGS):
            page.goto(session.base_url + path, wait_until="load")
            timings.append([time_ms / 1000 for time_ms in page.evaluate(TIMING)])
        first_byte, ready, loaded = (list(column) for column in zip(*timings, strict=True))
        older_s = older(page)
        shown = page.locator("chat-transcript article").count()
        page.evaluate(WATCH_KEYS)
        scrolling, typing = scroll(page), type_text(page)
        page.locator("#text").fill("Go on [[rate=40 deltas=3000]]")
        page.keyboard.press("Enter")
        page.locator(".is-running").first.wait_for()
        streaming_typing, streaming_scrolling = type_text(page), scroll(page)
        assert page.locator(".is-running").count(), "the answer ended before the measurement did"
        context.close()
    report.table(
        f"A conversation of {MESSAGES:,} messages",
        [
            ("whole page from the server", report.spread(served), ""),
            ("Chromium: request → first byte", report.spread(first_byte), ""),
            ("Chromium: DOMContentLoaded", report.spread(ready), ""),
            ("Chromium: load", report.spread(loaded), "< 1.5 s"),
            ("earlier messages, click → shown", report.spread(older_s), ""),
            (f"frame while scrolling {shown} messages", report.spread(scrolling), "about 17 ms"),
            ("key → paint", report.spread(typing), ""),
            ("frame while scrolling, an answer streams", report.spread(streaming_scrolling), "about 17 ms"),
            ("key → paint, an answer streams", report.spread(streaming_typing), ""),
        ],
    )


if __name__ == "__main__":
    main()
