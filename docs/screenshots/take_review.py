"""Take the screenshots of docs/review.md: the review desk and its lists, light and dark, desktop and tablet.

    .venv/bin/python docs/screenshots/take_review.py [--docs]

Starts the real server on a database of its own with a few conversations. All screenshots go to
`data/screenshots/review/`; `--docs` also replaces those next to this file.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.serving import Server  # noqa: E402 - needs the path above

SIZES = {"desktop": (1280, 860), "tablet": (768, 1024)}
DOCS_FILES = {
    ("desktop", "light", "details"): "review-light.png",
    ("desktop", "dark", "details"): "review-dark.png",
    ("tablet", "light", "transcript"): "review-tablet.png",
}
LIST = "/admin/chat/conversation/"
PAGES = {"list": LIST, "queue": f"{LIST}queue/", "agreement": f"{LIST}agreement/", "front": "/admin/"}
SEED = '''
from datetime import timedelta
from decimal import Decimal
from django.contrib.auth.models import Group, User
from django.utils import timezone
from chat import rendering
from chat.models import *

vera = User.objects.create_superuser("vera")
tom = User.objects.create_user("tom", is_staff=True)
tom.groups.add(Group.objects.get(name="Reviewers"))
titles = ["How do I graft an apple tree?", "What does a mutex protect?", "Ideas for a small city garden",
    "Translate this letter to Portuguese", "Plan a week of suppers for two", "Why is my bread so dense?"]
text = """A **scion** from a tree you like is joined to the *rootstock* of another. Late winter is best.

1. Cut both at the same slant, about four centimetres long.
2. Fit green to green: the thin layer under the bark must touch.
3. Bind it, and seal it with wax.
"""
correct, helpful = Criterion.objects.get(name="Correct"), Criterion.objects.get(name="Helpful")
now = timezone.now()
for n in range(18):
    user, _ = User.objects.get_or_create(username=["ada", "bob", "cleo"][n % 3])
    at = now - timedelta(hours=5 * n, minutes=4)
    c = Conversation.objects.create(user=user, title=titles[n % 6], created_at=at, updated_at=at)
    q = c.messages.create(role="user", text=titles[n % 6], created_at=at)
    if n == 0:
        c.messages.create(role="assistant", parent=q, text="Ask a gardener.", created_at=at)
    a = c.messages.create(role="assistant", parent=q, text=text, html=rendering.render(text), created_at=at)
    g = a.generations.create(user=user, client_id=f"s{n}", model_name="gpt-4o-mini", status="completed",
        created_at=at, started_at=at + timedelta(seconds=0.8), first_delta_at=at + timedelta(seconds=6.2),
        finished_at=at + timedelta(seconds=13.6), calls=2, recoveries=1, input_tokens=320, output_tokens=211,
        cost_usd=Decimal("0.000174"), finish_reason="stop")
    g.attempts.create(number=1, model_name="gpt-4o-mini", endpoint_name="OpenAI", outcome="failed",
        error_code="stalled", started_at=g.started_at, first_delta_at=at + timedelta(seconds=1.8),
        finished_at=at + timedelta(seconds=4.8), abandoned_text=text[:60])
    g.attempts.create(number=2, model_name="gpt-4o-mini", endpoint_name="OpenAI", outcome="completed",
        recovery="restart", before_chars=60, wait_s=0.5, started_at=at + timedelta(seconds=5.3),
        first_delta_at=g.first_delta_at, finished_at=g.finished_at)
    c.leaf = a
    c.save()
    Assignment.objects.create(conversation=c, reviewer=[vera, tom][n % 2], assigned_by_name="grace",
        done_at=now if n % 3 else None)
    for who, value in ((vera, 4 - n % 2), (tom, 4 - n % 3)):
        if n:
            Mark.objects.create(kind="verdict", conversation=c, message=a, criterion=helpful, value=value,
                author=who, author_name=who.username)
            Mark.objects.create(kind="verdict", conversation=c, message=a, criterion=correct,
                value=int(value > 2), author=who, author_name=who.username)
    if n == 0:
        Feedback.objects.create(message=a, user=user, value=-1, reasons=["incomplete"],
            comment="What about summer?")
        Mark.objects.create(kind="label", conversation=c, label=Label.objects.get(name="good example"),
            author=tom, author_name="tom")
        Mark.objects.create(kind="note", conversation=c, message=a, author=tom, author_name="tom",
            text="Right for late winter, says nothing of summer.")
'''


def take_pages(page: Page, base_url: str, keep: dict[str, bytes]) -> None:
    for name, path in PAGES.items():
        page.goto(base_url + path)
        keep[name] = page.screenshot()
    page.goto(base_url + LIST)
    page.locator("#result_list tbody th a").first.click()
    page.locator("#panel").wait_for()
    page.wait_for_load_state("networkidle")
    keep["transcript"] = page.screenshot()
    page.keyboard.press("n")
    page.locator(".panel[data-target]:not([data-target=''])").wait_for()
    page.keyboard.press("d")
    page.locator(".run-details[open]").wait_for()
    page.mouse.wheel(0, 160)
    page.wait_for_timeout(300)
    keep["details"] = page.screenshot()


def take(browser: Browser, server: Server, folder: Path, *, is_for_docs: bool) -> None:
    session = server.sign_in("vera")
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            session.enter(context)
            taken: dict[str, bytes] = {}
            take_pages(context.new_page(), server.base_url, taken)
            for name, png in taken.items():
                (folder / f"{size}-{scheme}-{name}.png").write_bytes(png)
                docs_name = DOCS_FILES.get((size, scheme, name))
                if is_for_docs and docs_name:
                    (HERE / docs_name).write_bytes(png)
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="also replace the screenshots of the documents")
    options = parser.parse_args()
    folder = ROOT / "data" / "screenshots" / "review"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        server = Server(Path(scratch), {"OPENAI_API_KEY": "k", "OPENAI_MODEL": "fake"}, ())
        try:
            server.start()
            server.shell(SEED)
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            take(browser, server, folder, is_for_docs=options.docs)
            browser.close()
        finally:
            server.stop()
    print(f"Screenshots are in {folder}")


if __name__ == "__main__":
    main()
