"""Fingers on a phone: swipes open and close the list, long presses open menus, targets are large enough."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import until_seen
from tests.support.chat_page import composer, last_answer, wait_until_final
from tests.support.services import reporting_errors

pytestmark = pytest.mark.browser

WIDE_CODE = r"[[rate=0]] [[text=```\n" + "wide " * 60 + r"\n```]]"
MIDDLE = 400
RIGHT = "document.getElementById('sidebar').getBoundingClientRect().right"
# Names and sizes of the controls in view that are smaller than 44 pixels; what a label holds is the label.
# Links in running text are exempt, as in WCAG 2.5.5.
SMALL_TARGETS = """() => {
  const all = [...document.querySelectorAll("a[href], button, summary, textarea, input:not([type=hidden])")];
  const seen = all.filter((each) => each.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }));
  const inText = seen.filter((each) => each.closest("p, .prose, .skip"));
  const targets = seen.filter((each) => !inText.includes(each)).map((each) => each.closest("label") ?? each);
  const isInView = (box) => box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
  return targets.flatMap((each) => {
    const box = each.getBoundingClientRect();
    const least = Math.min(box.width, box.height);
    if (!isInView(box) || least <= 1 || least > 43.5) return [];
    const name = each.ariaLabel ?? each.textContent.trim();
    return [`${name}: ${Math.round(box.width)} by ${Math.round(box.height)}`];
  });
}"""


class Finger:
    """One finger on a page, through the browser's own input."""

    def __init__(self, page):
        self.page = page
        self.protocol = page.context.new_cdp_session(page)

    def touch(self, kind, *point):
        points = [{"x": point[0], "y": point[1]}] if point else []
        self.protocol.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    def swipe(self, start, end, y=MIDDLE, *, lifts=True):
        self.touch("Start", start, y)
        for step in range(1, 6):
            self.touch("Move", start + (end - start) * step / 5, y)
        if lifts:
            self.touch("End")

    def press(self, locator, opened):
        """Hold the finger on an element until `opened` is visible, and lift it."""
        box = locator.bounding_box()
        self.touch("Start", box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(opened).to_be_visible()
        self.touch("End")


def send(page, text):
    # Enter breaks the line on a phone.
    composer(page).fill(text)
    page.get_by_role("button", name="Send").tap()


@pytest.fixture(params=["motion", "reduced motion"])
def phone(request, chromium, site):
    """Return the empty page on a phone, of a new user."""
    context = chromium.new_context(
        viewport={"width": 390, "height": 800},
        has_touch=True,
        is_mobile=True,
        reduced_motion="reduce" if request.param == "reduced motion" else "no-preference",
    )
    with reporting_errors(context):
        next(site.sessions).enter(context)
        page = context.new_page()
        page.goto(site.server.base_url)
        page.wait_for_selector("body.has-gestures")
        yield page


def is_open(page):
    return page.locator("body.is-drawer-open")


def test_a_swipe_opens_the_list_and_one_back_closes_it(phone):
    finger = Finger(phone)
    finger.swipe(40, 300)
    expect(is_open(phone)).to_be_attached()
    expect(phone.get_by_role("link", name="New chat")).to_be_in_viewport()
    finger.swipe(280, 40)
    expect(is_open(phone)).not_to_be_attached()
    expect(phone.get_by_role("link", name="New chat")).to_be_hidden()


@pytest.mark.parametrize("phone", ["motion"], indirect=True)
def test_the_list_follows_the_finger_and_goes_back_if_the_way_was_short(phone):
    finger = Finger(phone)
    finger.swipe(40, 140, lifts=False)
    until_seen(phone, lambda: abs(phone.evaluate(RIGHT) - 100) < 2, "the list to follow")
    # So slow that it is no flick.
    phone.evaluate("""new Promise((done) => {
      const since = performance.now();
      const wait = () => (performance.now() - since > 1000 ? done() : requestAnimationFrame(wait));
      wait();
    })""")
    finger.touch("End")
    until_seen(phone, lambda: phone.evaluate(RIGHT) <= 0, "the list to go back")
    expect(is_open(phone)).not_to_be_attached()


def test_a_swipe_is_left_to_the_system_at_the_edge_to_the_text_when_it_goes_down_and_to_wide_code(phone):
    send(phone, WIDE_CODE)
    expect(last_answer(phone)).to_contain_text("wide")
    wait_until_final(phone)
    finger = Finger(phone)
    finger.swipe(4, 300)
    finger.swipe(200, 380)
    code = phone.locator(".prose pre").bounding_box()
    finger.swipe(60, 300, code["y"] + code["height"] / 2)
    finger.touch("Start", 60, 200)
    for y in (230, 260, 300):
        finger.touch("Move", 80, y)
    finger.touch("End")
    expect(is_open(phone)).not_to_be_attached()
    # The same swipe elsewhere opens it.
    finger.swipe(60, 300, phone.locator("article.question").bounding_box()["y"] + 10)
    expect(is_open(phone)).to_be_attached()


@pytest.mark.parametrize("phone", ["motion"], indirect=True)
def test_a_swipe_opens_the_list_from_the_right_where_text_runs_from_right_to_left(phone):
    phone.evaluate("document.documentElement.dir = 'rtl'")
    finger = Finger(phone)
    finger.swipe(40, 300)
    expect(is_open(phone)).not_to_be_attached()
    finger.swipe(350, 90)
    expect(is_open(phone)).to_be_attached()


@pytest.mark.parametrize("phone", ["motion"], indirect=True)
def test_a_long_press_opens_the_menus_of_a_conversation_and_of_a_question(phone):
    send(phone, "[[deltas=2]] pears")
    wait_until_final(phone)
    address = phone.url
    finger = Finger(phone)
    menu = phone.get_by_role("menu", name="Message")
    finger.press(phone.locator(".question .bubble"), menu)
    expect(menu).to_be_visible()
    menu.get_by_role("menuitem", name="Select text").tap()
    assert "pears" in phone.evaluate("getSelection().toString()")
    phone.evaluate("getSelection().removeAllRanges()")
    send(phone, "[[deltas=2]] plums")
    wait_until_final(phone)
    finger.press(phone.locator(".question .bubble").last, menu)
    menu.get_by_role("menuitem", name="Edit").tap()
    expect(phone.get_by_text("You are editing an earlier message")).to_be_visible()
    phone.get_by_role("link", name="Cancel").tap()

    finger.swipe(40, 300, 200)
    row = phone.locator(".conversation-item")
    rename = phone.locator("#options").get_by_role("link", name="Rename")
    finger.press(row.locator("> a"), rename)
    expect(rename).to_be_visible()
    rename.tap()
    expect(phone.locator(".rename [name=title]")).to_be_focused()
    assert phone.url == address


@pytest.mark.parametrize("phone", ["motion"], indirect=True)
def test_all_targets_are_large_enough_for_a_finger(phone):
    small = {"empty": phone.evaluate(SMALL_TARGETS)}
    send(phone, r"[[rate=0]] [[text=| a |\n|---|\n| 1 |\n\n```\ncode\n```]]")
    wait_until_final(phone)
    small["answer"] = phone.evaluate(SMALL_TARGETS)
    phone.locator("#models summary").tap()
    small["models"] = phone.evaluate(SMALL_TARGETS)
    phone.keyboard.press("Escape")
    Finger(phone).swipe(40, 300, 150)
    until_seen(phone, lambda: phone.evaluate(RIGHT) >= 320, "the list to be open")
    small["list"] = phone.evaluate(SMALL_TARGETS)
    assert small == {name: [] for name in small}
