"""The review desk in a browser: by keyboard alone, during an answer, without scripts, on a tablet."""

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import assert_accessible
from tests.support.chat_page import held_question, last_answer, send, wait_until_final
from tests.support.programs import until
from tests.support.provider_control import release

pytestmark = pytest.mark.browser

COUNT = 20
LIST = "/admin/chat/conversation/"
SEED = f"""
from django.contrib.auth.models import Group, User
from django.utils import timezone
from chat.models import Conversation
user, _ = User.objects.get_or_create(username="author")
for number in range({COUNT}):
    c = Conversation.objects.create(user=user, title=f"Talk {{number}}")
    q = c.messages.create(role="user", text=f"Question {{number}}")
    a = c.messages.create(role="assistant", parent=q, text="An *answer*.", html="<p>An <em>answer</em>.</p>")
    g = a.generations.create(user=user, client_id=f"desk{{number}}", status="completed",
        model_name="fake", started_at=timezone.now(), finished_at=timezone.now())
    g.attempts.create(number=1, model_name="fake", outcome="completed", finished_at=timezone.now())
    c.leaf = a
    c.save()
"""
JUDGED = """
from collections import Counter
from chat.models import Assignment, Mark
kinds = Counter(Mark.objects.filter(author__username="reviewer").values_list("kind", flat=True))
print(kinds["label"], kinds["verdict"], kinds["flag"], Assignment.objects.done().count())
"""


def reviewer_session(server, name="reviewer", *permissions):
    """Return a session of staff in the group Reviewers, with further permissions."""
    server.query(
        "from django.contrib.auth.models import Group, Permission, User\n"
        f"person, _ = User.objects.get_or_create(username={name!r}, defaults={{'is_staff': True}})\n"
        "person.groups.add(Group.objects.get(name='Reviewers'))\n"
        f"person.user_permissions.add(*Permission.objects.filter(codename__in={permissions!r}))\n"
    )
    return server.sign_in(name)


def until_started(page, button):
    """Wait for a button that the scripts of the page show when they have started, and until keys arrive.

    Chromium drops the keys that are pressed before the first paint.
    """
    expect(page.get_by_role("button", name=button)).to_be_visible(timeout=20_000)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(
        "addEventListener('keydown', () => { document.body.dataset.takesKeys = ''; }, { once: true })"
    )

    def takes_keys():
        page.keyboard.press("Shift")
        return page.evaluate("'takesKeys' in document.body.dataset")

    until(takes_keys, "the page to take keys")


@pytest.fixture(scope="module")
def server(site):
    site.server.query(SEED)
    return site.server


@pytest.fixture
def desk(page, server):
    """Return the list of conversations, as a reviewer sees it."""
    reviewer_session(server).enter(page.context)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.problems.append(line.text))
    page.goto(f"{server.base_url}{LIST}?q=Talk")
    return page


def test_twenty_conversations_are_judged_without_the_mouse(desk, server):
    first = desk.locator("#result_list tbody th a").first
    first.focus()
    desk.keyboard.press("Enter")
    until_started(desk, "Next")
    for number in range(COUNT):
        address = desk.url
        # An answer, its first label, three verdicts, a flag; then the next conversation.
        for key in "nl1vy4nf" + "r":
            desk.keyboard.press(key)
        if number < COUNT - 1:
            desk.wait_for_function("address => location.href !== address", arg=address)
            until_started(desk, "Previous")
    expect(desk.locator("button[data-reviewed]")).to_contain_text("Reviewed")
    expect(desk.locator("#announce")).to_have_text("This is the last conversation of the list.")

    assert desk.problems == []
    assert server.query(JUDGED).split() == [str(COUNT), str(3 * COUNT), str(COUNT), str(COUNT)]


def test_the_keys_are_listed_and_do_not_act_while_one_is_typing(desk):
    desk.locator("#result_list tbody th a").first.click()
    until_started(desk, "Next")
    desk.keyboard.press("?")
    expect(desk.get_by_role("dialog")).to_be_visible()
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("dialog")).to_be_hidden()
    address = desk.url
    desk.keyboard.press("m")
    note = desk.locator("[data-key=note] textarea")
    expect(note).to_be_focused()
    desk.keyboard.type("jkfr, not a command")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator(".note")).to_contain_text("jkfr, not a command")
    assert desk.url == address


def test_a_transcript_grows_while_the_answer_is_written(chat, site, chromium):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text("word15")
    conversation = chat.url.split("/c/")[1].strip("/")
    context = chromium.new_context()
    reviewer_session(site.server).enter(context)
    page = context.new_page()
    page.goto(f"{site.server.base_url}{LIST}{conversation}/change/")
    expect(page.locator("article.assistant")).to_contain_text("word15")
    expect(page.locator("article.assistant")).not_to_contain_text("word40")

    release(site.provider, gate)

    expect(page.locator("article.assistant .prose")).to_contain_text("word59", timeout=15_000)
    context.close()


def test_a_thumb_down_with_a_reason_is_shown_to_reviewers(chat, site, chromium):
    send(chat, "[[text=wrong]] a question")
    wait_until_final(chat)
    chat.locator("article.answer").last.hover()
    chat.get_by_role("button", name="Bad answer").click()
    chat.get_by_label("Not helpful").check()
    chat.get_by_label("Comment (optional)").fill("too short")
    chat.get_by_role("button", name="Save").click()
    expect(chat.get_by_role("dialog")).to_be_hidden()
    expect(chat.get_by_role("link", name="Your feedback")).to_be_visible()
    expect(chat.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    chat.reload()
    expect(chat.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")

    conversation = chat.url.split("/c/")[1].split("/")[0]
    context = chromium.new_context()
    reviewer_session(site.server).enter(context)
    page = context.new_page()
    page.goto(f"{site.server.base_url}{LIST}{conversation}/change/")
    expect(page.locator(".feedback-words")).to_contain_text("Not helpful")
    expect(page.locator(".feedback-words")).to_contain_text("too short")
    context.close()


def test_selected_text_is_what_is_redacted(page, server):
    reviewer_session(server, "redactor", "redact_conversation").enter(page.context)
    page.goto(f"{server.base_url}{LIST}?q=Talk")
    page.locator("#result_list tbody th a").last.click()
    until_started(page, "Previous")
    page.locator("article.assistant em").dblclick()
    page.get_by_label("More").click()
    page.get_by_role("link", name="Redact…").click()
    expect(page.get_by_label("Text to remove")).to_have_value("answer")
    page.get_by_label("Why").fill("a test")
    page.get_by_role("button", name="Redact").click()
    expect(page.locator("article.assistant .prose")).to_have_text("An ⟦redacted⟧.")
    expect(page.locator(".redaction")).to_contain_text("Redacted by redactor: a test")


def test_all_of_it_works_without_scripts(chromium, server):
    context = chromium.new_context(java_script_enabled=False)
    reviewer_session(server, "plain").enter(context)
    page = context.new_page()
    page.goto(f"{server.base_url}{LIST}?q=Talk")
    page.locator("#result_list tbody th a").nth(3).click()
    page.locator("article.assistant").get_by_role("link", name="Judge").click()
    page.get_by_role("button", name="wrong").click()
    expect(page.locator("article.assistant .chip", has_text="wrong")).to_be_visible()
    page.get_by_role("button", name="Mark reviewed").click()
    expect(page.get_by_role("button", name="✓ Reviewed")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [768, 1280])
def test_no_page_scrolls_sideways_and_fields_have_room(chromium, server, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    reviewer_session(server, "sizes").enter(context)
    page = context.new_page()
    page.goto(f"{server.base_url}{LIST}?q=Talk")
    link = page.locator("#result_list tbody th a").first.get_attribute("href")
    for address in (LIST, link, f"{LIST}queue/", f"{LIST}agreement/", "/admin/"):
        page.goto(server.base_url + address)
        sizes = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert sizes[0] <= sizes[1], address
    page.goto(f"{server.base_url}{LIST}")
    if width == 1280:
        table = page.locator("#changelist .results")
        assert table.evaluate("box => box.scrollWidth - box.clientWidth") == 0
    assert page.locator("#searchbar").bounding_box()["width"] >= 240
    context.close()


def test_axe_finds_nothing_serious_on_the_pages_of_the_admin(page, server):
    reviewer_session(server, "chief").enter(page.context)
    server.query(
        "from django.contrib.auth.models import User\n"
        "User.objects.filter(username='chief').update(is_superuser=True)"
    )
    page.goto(f"{server.base_url}/admin/")
    links = page.locator("#navigation li a").evaluate_all("links => links.map(each => each.href)")
    assert len(links) >= 20
    page.goto(f"{server.base_url}{LIST}?q=Talk")
    transcript = page.locator("#result_list tbody th a").first.evaluate("link => link.href")
    forms = (
        *("chat/model/1/change/", "chat/endpoint/1/change/", "chat/retentionpolicy/add/"),
        *("chat/label/1/change/", "auth/user/1/change/", "auth/group/add/", "chat/model/1/check/"),
        *("chat/generation/1/change/", "chat/model/1/delete/", "chat/accessrecord/check/"),
    )
    for address in (*links, transcript, *(f"{server.base_url}/admin/{each}" for each in forms)):
        page.goto(address)
        assert_accessible(page)
    page.goto(transcript)
    page.locator(".run-details summary").first.click()
    assert_accessible(page)
