"""Batches, later answers and budgets in Chromium, with a real server and the fake provider."""

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import composer, last_answer, send, wait_until_final
from tests.support.server_settings import overridden

pytestmark = pytest.mark.browser

USER = "from django.contrib.auth.models import User\nuser = User.objects.get(username='ada')\n"
BATCH_API = (
    "from chat.models import Endpoint, Model\nEndpoint.objects.update(has_batch_api=True)\n"
    "Model.objects.update(input_usd_per_million=1, output_usd_per_million=2)\n"
)


@pytest.fixture
def server(serve, provider, page):
    """Return a server on which a user is signed in, on an empty page."""
    server = serve(provider.env_for_server | {"OPENAI_MODEL": "fake"} | overridden(BATCH_POLL_S=0.5))
    server.sign_in("ada").enter(page.context)
    page.goto(server.base_url)
    return server


def test_a_csv_of_rows_becomes_a_downloaded_result(server, page, tmp_path):
    rows = tmp_path / "reviews.csv"
    rows.write_text("id,text\n" + "".join(f"{n},review {n}\n" for n in range(1, 41)))
    page.goto(f"{server.base_url}/batches/")
    page.get_by_role("link", name="New batch").click()
    page.get_by_label("File").set_input_files(rows)
    page.get_by_label("What is sent for each row").fill("[[text=Sum of {{text}}.]]")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("main")).to_contain_text("40 rows for fake")
    expect(page.locator("main")).to_contain_text("[[text=Sum of review 1.]]")
    socket = page.expect_websocket(lambda socket: "/ws/" in socket.url)
    with socket as opened:
        page.get_by_role("button", name="Start").click()
    # The server tells the page, which otherwise looks again after fifteen seconds only.
    opened.value.wait_for_event("framereceived", lambda frame: '"what":"batch"' in str(frame), timeout=20_000)
    expect(page.locator("main")).to_contain_text("40 of 40 (100 %)", timeout=30_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["id"] for row in found] == [str(n) for n in range(1, 41)]
    assert found[6]["answer"] == "Sum of review 7."
    assert {row["state"] for row in found} == {"completed"}


def test_an_answer_comes_later_also_after_a_reload_and_can_be_cancelled(server, page):
    choice = page.get_by_role("checkbox", name="Answer later")
    expect(choice).to_have_count(0)
    server.query(BATCH_API)
    page.reload()
    expect(page.locator("#later-note")).to_be_hidden()
    choice.check()
    expect(page.locator("#later-note")).to_contain_text("at 50 % of the price")
    send(page, "Why is the sky blue? [[text=It scatters.]]")
    waiting = page.locator("article.answer").last
    expect(waiting).to_contain_text("fake answers later")
    expect(choice).not_to_be_checked()
    page.reload()
    expect(waiting.or_(last_answer(page)).first).to_be_visible()
    expect(last_answer(page)).to_have_text("It scatters.", timeout=20_000)
    expect(waiting).to_contain_text("batch price")

    # While one waits, the page is free; what follows it is refused, and the text stays.
    server.query("from chat.models import Batch\nBatch.objects.all().delete()\n")
    provider_is_slow = (
        "from chat.models import Endpoint\nEndpoint.objects.update(base_url='http://127.0.0.1:9/v1')\n"
    )
    server.query(provider_is_slow)
    choice.check()
    send(page, "And at night?")
    expect(waiting).to_contain_text("It is tried again.", timeout=20_000)
    send(page, "Too early")
    expect(page.locator(".problem")).to_contain_text("comes later")
    expect(composer(page)).to_have_value("Too early")
    waiting.get_by_role("button", name="Cancel").click()
    expect(waiting).to_contain_text("Stopped before the first word", timeout=10_000)


def test_a_question_beyond_a_budget_is_refused_with_when_it_renews_and_the_text_stays(server, page):
    server.query(
        USER + "from chat.models import Budget\n"
        "Budget.objects.create(user=user, scope='user', amount=300, unit='tokens', period='day')\n"
        "from chat.models import Model\nModel.objects.update(max_output_tokens=120)\n"
    )
    server.until_ticked()
    send(page, "[[text=A short one.]]")
    wait_until_final(page)
    send(page, "Now a long one " * 100)
    problem = page.locator(".problem")
    expect(problem).to_contain_text("has no room for this")
    expect(problem).to_contain_text(re.compile("300 tokens.*renews", re.DOTALL))
    expect(composer(page)).to_have_value("Now a long one " * 100)
    expect(page.locator("article.question")).to_have_count(1)
    page.goto(f"{server.base_url}/usage/")
    expect(page.locator("main")).to_contain_text("300 tokens")
