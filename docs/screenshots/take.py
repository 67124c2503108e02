"""Take a screenshot of every state, light and dark, at desktop and phone width: `make screenshots`.

Starts the real server with the fake provider. All screenshots go to `data/screenshots/`; `--readme` also
replaces those of the README, which are next to this file.
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.server_settings import overridden  # noqa: E402 - needs the path above
from tests.support.serving import Provider, Server, Session  # noqa: E402

SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
README_FILES = {
    ("desktop", "light", "answer"): "chat-light.png",
    ("desktop", "dark", "answer"): "chat-dark.png",
    ("phone", "light", "answer"): "chat-phone.png",
}
ANSWER = """## Grafting an apple tree

A **scion** from a tree you like is joined to the *rootstock* of another. Late winter is best.

1. Cut both at the same slant, about four centimetres long.
2. Fit green to green: the thin layer under the bark must touch.
3. Bind it, and seal it with wax.

| rootstock | height | first fruit |
|---|---|---|
| M9 | 2–3 m | year 2–3 |
| M26 | 3–4 m | year 3–4 |

```python
def weeks_until_buds_open(mean_temperature: float) -> float:
    return max(2.0, 14 - mean_temperature)  # a rule of thumb
```
"""
EARLIER = [
    "Plan a week of suppers for two",
    "What does a mutex protect?",
    "Translate this letter to Portuguese",
    "Ideas for a small city garden",
]


def composer(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


def send(page: Page, text: str) -> None:
    composer(page).fill(text)
    # A message that is sent just when an answer fails stays in the field.
    while composer(page).input_value():
        composer(page).press("Enter")
        with contextlib.suppress(AssertionError):
            expect(composer(page)).to_have_value("", timeout=1_000)


def send_and_wait(page: Page, text: str) -> None:
    question = page.locator("article.question", has_text=text)
    send(page, text)
    expect(question).to_be_visible()
    expect(page.locator("article.answer").last.locator(".meta")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def picture_file() -> FilePayload:
    """Return a picture: a blue sky over a green meadow."""
    file, picture = io.BytesIO(), Image.new("RGB", (640, 400), "#8ec5f0")
    picture.paste("#5d9b4a", (0, 260, 640, 400))
    picture.save(file, "PNG")
    return {"name": "meadow.png", "mimeType": "image/png", "buffer": file.getvalue()}


def text_file() -> FilePayload:
    return {"name": "grafting notes.txt", "mimeType": "text/plain", "buffer": b"Cut both at a slant. " * 400}


class StateTour:
    """Visits all states in one browser size and colour scheme."""

    def __init__(self, page: Page, session: Session, provider: Provider, keep: Callable[[str, bytes], None]):
        self.page, self.session, self.provider, self.keep = page, session, provider, keep

    def take(self, state: str) -> None:
        self.page.evaluate("document.fonts.ready")
        self.keep(state, self.page.screenshot(animations="disabled"))

    def visit_all(self) -> None:
        page = self.page
        page.goto(self.session.base_url)
        self.take("empty")
        arrange_answer(self.provider)
        send(page, "How do I graft an apple tree?")
        expect(page.locator("article.answer .prose")).to_contain_text("rootstock")
        self.take("writing")
        expect(page.locator("article.answer .meta")).to_be_visible(timeout=30_000)
        page.locator("article.answer h2:not(.visually-hidden)").first.scroll_into_view_if_needed()
        self.take("answer")
        page.locator("article.answer .meta").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        self.take("details")
        page.keyboard.press("Escape")
        self.failures()
        self.around()

    def failures(self) -> None:
        page = self.page
        send_and_wait(page, "Does the key work? [[status=401]]")
        self.take("failed")
        send_and_wait(page, "And a longer one? [[cut after=12]]")
        self.take("interrupted")
        send(page, "Is it up again? [[status=503 retry_after=30]]")
        expect(page.locator(".state .status").last).to_contain_text(re.compile(r"\d+ s"))
        self.take("retrying")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Send")).to_be_visible()

    def around(self) -> None:
        page = self.page
        page.get_by_role("link", name="Conversation settings").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        self.take("settings")
        page.keyboard.press("Escape")
        if (page.viewport_size or {})["width"] < 900:
            page.get_by_role("link", name="Conversations").or_(
                page.get_by_role("button", name="Conversations")
            ).first.click()
            self.take("sidebar")
            page.keyboard.press("Escape")
        page.set_input_files("#files", [picture_file(), text_file()])
        expect(page.locator(".file-chip[data-state=ready]")).to_have_count(2)
        self.take("files")
        composer(page).fill("What do you see? [[text=A meadow under a blue sky.]]")
        composer(page).press("Enter")
        expect(page.locator("article.answer").last.locator(".meta")).to_be_visible(timeout=30_000)
        self.take("files-sent")
        page.context.set_offline(True)
        send(page, "And what is a whip graft?")
        expect(page.locator(".connection")).to_contain_text("offline", timeout=15_000)
        self.take("offline")
        page.context.set_offline(False)


def take_states(
    browser: Browser, server: Server, provider: Provider, folder: Path, *, is_for_readme: bool
) -> None:
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            session = server.sign_in(f"ada-{scheme}-{size}")
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
            )
            session.enter(context)

            def keep(state: str, png: bytes, size: str = size, scheme: str = scheme) -> None:
                (folder / f"{size}-{scheme}-{state}.png").write_bytes(png)
                name = README_FILES.get((size, scheme, state))
                if is_for_readme and name:
                    (HERE / name).write_bytes(png)

            page = context.new_page()
            seed(server, f"ada-{scheme}-{size}")
            StateTour(page, session, provider, keep).visit_all()
            context.close()


def seed(server: Server, name: str) -> None:
    """Create earlier conversations of a user, so that the sidebar is not empty."""
    server.shell(
        "from datetime import timedelta\n"
        "from django.contrib.auth import get_user_model\n"
        "from django.utils import timezone\n"
        "from chat.models import Conversation\n"
        f"user = get_user_model().objects.get(username={name!r})\n"
        f"for n, title in enumerate({EARLIER!r}):\n"
        "    when = timezone.now() - timedelta(days=n * 3)\n"
        "    Conversation.objects.create(user=user, title=title, updated_at=when, seen_at=when)\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true", help="also replace the screenshots of the README")
    options = parser.parse_args()
    folder = ROOT / "data" / "screenshots"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        provider = Provider(Path(scratch), ())
        server = Server(
            Path(scratch),
            {
                "OPENAI_API_KEY": "k",
                "OPENAI_MODEL": "fake:vision",
                "CHATSITE_ASKS_PER_MINUTE": "600",
            }
            | overridden(BREAKER_POLICY={"calls_min": 1000}),
            (),
        )
        try:
            provider.start()
            server.env |= {"OPENAI_BASE_URL": provider.base_url}
            server.start()
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
            )
            take_states(browser, server, provider, folder, is_for_readme=options.readme)
        finally:
            server.stop()
            provider.stop()
    print(f"{len(list(folder.iterdir()))} screenshots in {folder.relative_to(ROOT)}")


def arrange_answer(provider: Provider) -> None:
    """Make the provider answer the next question with ANSWER, at a readable speed."""
    entry = {"do": "rate=90 chars=6 text=" + ANSWER.replace("\n", "\\n")}
    request = urllib.request.Request(
        provider.base_url.removesuffix("/v1") + "/control/script",
        json.dumps(entry).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    main()
