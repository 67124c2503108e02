"""The page in Chromium when its network fails: nothing typed is lost, nothing shown is missing or twice."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import (
    HALF,
    WORDS,
    Wire,
    asked,
    composer,
    held_question,
    last_answer,
    send,
    wait_until_final,
)
from tests.support.programs import until
from tests.system.test_never_lost import release

pytestmark = pytest.mark.browser

WHOLE = re.compile(f"^{WORDS}$")
OUTBOX = "Object.keys(localStorage).filter(key => key.includes('outbox')).length"
# Another tab's ask is taken for abandoned after fifteen seconds.
LATER_S = 20


@pytest.fixture
def wire(page):
    return Wire(page)


@pytest.fixture
def wired(wire, chat):
    """Return the page of a person of its own, whose socket goes over `wire`."""
    until_connected(chat, wire, 1)
    return chat


def until_seen(page, check, what):
    """Wait for what `wire` is told, which happens only while Playwright is at work."""
    until(lambda: page.wait_for_timeout(20) or check(), what)


def until_tried(page, wire, number):
    until_seen(page, lambda: wire.connections >= number, f"attempt {number} to connect")


def until_connected(page, wire, number):
    # Its first word; a pong would come later still.
    until_seen(page, lambda: len(wire.said("watch")) >= number, f"connection {number}")


def banner(page):
    return page.locator(".connection")


def another_tab(page, address):
    """Return a tab that was opened later than other tabs may leave an ask unsent."""
    tab = page.context.new_page()
    tab.clock.install(time=time.time() + LATER_S)
    tab.goto(address)
    return tab


# -- what was sent --------------------------------------------------------------------------------


def test_a_message_whose_acknowledgement_is_lost_is_sent_again_and_counts_once(wired, wire, site):
    wire.on_server_frame = lambda frame: [] if frame["type"] == "accepted" or "seq" in frame else [frame]
    send(wired, "acknowledged into the void [[text=heard]]")
    expect(wired.locator(".pending .state")).to_have_text("Sending…")
    until(lambda: asked(site.provider, "into the void"), "the provider to be asked")
    wire.on_server_frame = None
    wire.cut()
    expect(last_answer(wired)).to_have_text("heard")
    wait_until_final(wired)
    expect(wired.locator(".bubble")).to_have_count(1)
    assert len({frame["client_id"] for frame in wire.said("ask")}) == 1 < len(wire.said("ask"))
    assert asked(site.provider, "into the void") == 1
    assert wired.evaluate(OUTBOX) == 0


def test_messages_queued_in_tabs_that_were_closed_are_sent_once_by_the_next_page(page, site):
    next(site.sessions).enter(page.context)
    for n in range(3):
        tab = page.context.new_page()
        Wire(tab).is_down = True
        tab.goto(site.server.base_url)
        send(tab, f"queued{n} in a tab [[deltas=2]]")
        expect(tab.locator(".pending .state")).to_contain_text("Not sent yet")
        tab.close()
    tab = another_tab(page, site.server.base_url)
    expect(tab.locator(".conversation-item")).to_have_count(3)
    expect(tab.locator(".conversation-item .running")).to_have_count(0)
    assert tab.evaluate(OUTBOX) == 0
    assert [asked(site.provider, f"queued{n} in a tab") for n in range(3)] == [1, 1, 1]


def test_an_ask_that_another_tab_sent_is_accepted_in_the_tab_that_shows_it(wired, wire, site):
    wire.is_down = True
    wire.cut()
    send(wired, "sent by the other [[text=done]]")
    tab = another_tab(wired, site.server.base_url)
    expect(tab.locator(".conversation-item")).to_have_count(1)
    wire.is_down = False
    wired.evaluate("dispatchEvent(new Event('online'))")
    expect(last_answer(wired)).to_have_text("done")
    wait_until_final(wired)
    expect(wired.locator(".pending")).to_have_count(0)
    expect(wired.locator("article")).to_have_count(2)
    assert asked(site.provider, "sent by the other") == 1


def test_what_is_refused_later_comes_back_with_the_reason(wired, wire, site):
    send(wired, "first [[deltas=2]]")
    wait_until_final(wired)
    wire.is_down = True
    wire.cut()
    send(wired, "second, in vain")
    busy, gate = held_question()
    tab = wired.context.new_page()
    tab.goto(wired.url)
    send(tab, busy)
    expect(last_answer(tab)).to_contain_text(HALF)
    wire.is_down = False
    wired.evaluate("dispatchEvent(new Event('online'))")
    expect(wired.locator(".problem")).to_contain_text("still being written")
    expect(composer(wired)).to_have_value("second, in vain")
    expect(wired.locator(".pending")).to_have_count(0)
    expect(last_answer(wired)).to_contain_text(HALF)
    release(site.provider, gate)
    expect(last_answer(wired)).to_have_text(WORDS)


def test_what_is_refused_for_a_closed_tab_becomes_the_draft_of_its_conversation(wired, wire, site):
    send(wired, "first [[deltas=2]]")
    wait_until_final(wired)
    wire.is_down = True
    wire.cut()
    send(wired, "second, in vain")
    expect(wired.locator(".pending")).to_be_visible()
    address = wired.url
    tab = wired.context.new_page()
    tab.goto(address)
    busy, gate = held_question()
    send(tab, busy)
    expect(last_answer(tab)).to_contain_text(HALF)
    wired.close()
    next_tab = another_tab(tab, site.server.base_url)
    expect(next_tab.locator(".problem")).to_contain_text("still being written")
    expect(composer(next_tab)).to_have_value("")
    next_tab.goto(address)
    expect(composer(next_tab)).to_have_value("second, in vain")
    release(site.provider, gate)


def test_nobody_sends_what_somebody_else_wrote_in_the_same_browser(wired, wire, site):
    wire.is_down = True
    wire.cut()
    send(wired, "a word of the first person [[text=mine]]")
    expect(wired.locator(".pending")).to_be_visible()
    first_person = wired.context.cookies()
    next(site.sessions).enter(wired.context)
    wire.is_down = False
    wired.evaluate("dispatchEvent(new Event('online'))")
    expect(banner(wired)).to_contain_text("Another user has signed in")
    expect(wired.locator(".pending .state")).to_contain_text("Not sent yet")
    tab = another_tab(wired, site.server.base_url)
    send(tab, "a word of the second person [[text=yours]]")
    expect(last_answer(tab)).to_have_text("yours")
    assert asked(site.provider, "a word of the first person") == 0

    wired.context.add_cookies(first_person)
    wired.reload()
    expect(last_answer(wired)).to_have_text("mine")


def test_a_page_that_was_signed_out_says_so_and_keeps_what_is_written(wired, wire, site):
    wire.is_down = True
    wire.cut(code=4401)
    expect(banner(wired)).to_have_text("You have been signed out. Your text is saved. Sign in")
    send(wired, "written while signed out [[text=sent]]")
    expect(wired.locator(".pending .state")).to_contain_text("Not sent yet")
    composer(wired).fill("and half a thought")
    connections = wire.connections
    wired.evaluate("dispatchEvent(new Event('online'))")
    assert wire.connections == connections
    wire.is_down = False
    banner(wired).get_by_role("link").click()
    expect(last_answer(wired)).to_have_text("sent")
    expect(composer(wired)).to_have_value("and half a thought")


def test_corrupted_storage_does_not_stop_the_page(wired, wire):
    user = wired.evaluate("document.body.dataset.user")
    wired.evaluate(
        "user => { for (const key of [`outbox.${user}.x`, `draft.${user}.new`])"
        " localStorage[`chatsite.${key}`] = '{' }",
        user,
    )
    wired.reload()
    send(wired, "still there? [[text=yes]]")
    expect(last_answer(wired)).to_have_text("yes")


# -- coming back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["online", "visibilitychange", "pageshow"])
def test_signs_of_life_reconnect_at_once_and_one_at_a_time(page, wire, site, sign):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    until_connected(page, wire, 1)
    page.evaluate("Math.random = () => 1")
    wire.is_down = True
    wire.cut()
    page.clock.fast_forward(5_000)
    until_tried(page, wire, 2)
    page.clock.pause_at(time.time() + 3600)
    wire.is_down = False
    target = "document" if sign == "visibilitychange" else "window"

    def is_back_after_many_signs():
        page.evaluate(f"for (let n = 0; n < 20; n++) {target}.dispatchEvent(new Event({sign!r}))")
        page.wait_for_timeout(20)
        return len(wire.said("watch")) == 2

    until(is_back_after_many_signs, "the page to be back")
    assert wire.opened == 1


def test_a_connection_that_died_in_silence_is_noticed_and_the_answer_goes_on(page, wire, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    question, gate = held_question()
    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)
    wire.fall_silent()
    release(site.provider, gate)
    page.clock.fast_forward(15_500)  # of silence, after which it asks
    assert wire.connections == 1
    page.clock.fast_forward(10_500)  # for an answer
    page.clock.fast_forward(1_000)
    expect(last_answer(page)).to_have_text(WORDS)
    wait_until_final(page)
    assert wire.connections == 2


def test_what_is_sent_into_a_dead_connection_is_sent_again_within_ten_seconds(page, wire, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    until_seen(page, lambda: wire.pongs, "the page to be connected, and nothing of it to be open")
    wire.fall_silent()
    send(page, "hello? [[text=hello]]")
    page.clock.fast_forward(10_500)
    page.clock.fast_forward(1_000)
    expect(last_answer(page)).to_have_text("hello")


def test_a_restarting_server_is_left_and_found_again_without_a_word(wired, wire):
    wired.evaluate(
        "window.said = []; const line = document.querySelector('.connection');"
        " new MutationObserver(() => said.push(line.textContent)).observe(line, { childList: true })"
    )
    wire.cut(code=1012)
    until_connected(wired, wire, 2)
    send(wired, "hello [[text=hello]]")
    expect(last_answer(wired)).to_have_text("hello")
    assert wired.evaluate("said") == []


def test_a_server_that_accepts_and_drops_is_asked_less_and_less(page, wire, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    wire.is_dropping = True
    page.goto(site.server.base_url)
    page.evaluate("Math.random = () => 1")
    for _n in range(40):
        page.clock.run_for(500)
        page.wait_for_timeout(10)
    # After 0.6, 1.1, 2.1, 4.1 and 8.1 seconds; every 0.6 seconds it would be thirty.
    assert wire.connections <= 8
    expect(banner(page)).to_have_text("Reconnecting… Your text is saved.")
    wire.is_dropping = False
    page.clock.run_for(20_000)
    expect(banner(page)).to_have_text("")
    expect(page.locator("#announcer")).to_contain_text("Connected again.")


def test_without_a_net_the_answer_waits_and_what_is_sent_goes_out_afterwards(chat, site):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    chat.context.set_offline(True)
    release(site.provider, gate)
    expect(banner(chat)).to_contain_text("You are offline")
    expect(last_answer(chat)).to_contain_text(HALF)
    chat.context.set_offline(False)
    expect(last_answer(chat)).to_have_text(WORDS)
    expect(banner(chat)).to_have_text("")
    wait_until_final(chat)

    chat.context.set_offline(True)
    send(chat, "sent without a net [[text=arrived]]")
    expect(banner(chat)).to_contain_text("You are offline")
    expect(chat.locator(".pending .state")).to_contain_text("Not sent yet")
    chat.context.set_offline(False)
    expect(last_answer(chat)).to_have_text("arrived")
    wait_until_final(chat)
    shown = chat.locator("chat-transcript .prose, chat-transcript .bubble").all_inner_texts()
    chat.reload()
    assert chat.locator("chat-transcript .prose, chat-transcript .bubble").all_inner_texts() == shown
    assert asked(site.provider, "sent without a net") == 1


# -- events ---------------------------------------------------------------------------------------


def test_a_lost_and_a_repeated_event_leave_neither_gap_nor_repeat(wired, wire):
    lost = iter([10, 25, 26, 40])
    next_lost = next(lost)

    def lossy(frame):
        nonlocal next_lost
        if frame.get("seq") == next_lost:
            next_lost = next(lost, None)
            return []
        return [frame, frame]

    wire.on_server_frame = lossy
    send(wired, f"[[rate=60 chars=8]] [[text={WORDS}]]")
    expect(last_answer(wired)).to_have_text(WORDS)
    wait_until_final(wired)
    assert next_lost is None
    assert len(wire.said("follow")) >= 2


def test_events_tell_what_happens_and_an_unknown_one_is_counted(wired, wire, site):
    question, gate = held_question()
    last = {}

    def shifted(frame):
        if "seq" in frame:
            frame = frame | {"seq": frame["seq"] + last.get("more", 0)}
            last.update(generation=frame["generation"], seq=frame["seq"])
        return [frame]

    def happens(type_, **fields):
        last["more"] = last.get("more", 0) + 1
        last["seq"] += 1
        wire.tell({"generation": last["generation"], "seq": last["seq"], "type": type_, **fields})

    wire.on_server_frame = shifted
    wired.set_viewport_size({"width": 360, "height": 740})
    send(wired, question)
    expect(last_answer(wired)).to_contain_text("word23 w")  # all there is before the gate
    status = wired.locator("article.answer .status")
    seams = wired.locator("article.answer .seam")
    spoken = wired.locator("#announcer")

    happens("invented_tomorrow", text="nobody knows")
    happens("retrying", attempt=2, of=3, wait_s=30, code="overloaded", message="The provider is overloaded.")
    expect(status).to_contain_text("The provider is overloaded. Attempt 2 of 3 in 30 s.")
    expect(spoken).to_contain_text("Attempt 2 of 3 in 30 s.")
    happens("continued", model="fake", code="cut", message="It was cut. The model goes on.")
    expect(status).to_have_text("It was cut. The model goes on.")
    expect(spoken).to_contain_text("It was cut. The model goes on.")
    expect(last_answer(wired)).to_contain_text(HALF)
    happens("started", model="fake", attempt=2)
    expect(status).to_have_text("It was cut. The model goes on.")
    happens("delta", text=" and more.")  # of which the last character is drawn when another one follows
    expect(last_answer(wired)).to_contain_text(re.compile("and more$"))
    expect(status).to_have_text("")
    expect(seams).to_have_count(0)
    happens("switched", model="other", code="overloaded", message="Overloaded. Going on with other.")
    expect(seams).to_have_text("Overloaded. Going on with other.")
    happens("restarted", reason="cut")
    expect(seams.last).to_have_text("The answer was interrupted and is being generated again.")
    expect(last_answer(wired)).to_have_text("")
    happens("delta", text="Quite another answer.")
    expect(last_answer(wired)).to_have_text("Quite another answer")
    happens("queued", position=3)
    expect(status).to_have_text("Waiting in the queue, position 3…")
    assert wired.evaluate("document.documentElement.scrollWidth") == 360

    release(site.provider, gate)
    # What the server has stored wins.
    expect(last_answer(wired)).to_have_text(WORDS)
    wait_until_final(wired)
    assert not wire.said("follow")


def test_a_page_tells_what_it_has_drawn_four_times_a_second_at_most(wired, wire):
    began = time.monotonic()
    send(wired, "[[rate=100 deltas=200]] a fast one")
    wait_until_final(wired)
    assert 1 < len(wire.said("ack")) <= 4 * (time.monotonic() - began) + 2


def test_a_page_without_frames_goes_on_drawing_and_acknowledging(page, wire, site):
    # So it is for a page that is hidden, and for one that is hidden before its next frame.
    page.add_init_script("window.requestAnimationFrame = () => 1")
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    question, gate = held_question()
    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)
    until_seen(page, lambda: wire.said("ack"), "an acknowledgement")
    release(site.provider, gate)
    expect(last_answer(page)).to_have_text(WORDS)


def test_an_answer_that_is_not_on_the_screen_is_acknowledged_all_the_same(wired, wire):
    # It would fill the window of the one that is.
    for seq in (6, 7):
        wire.tell({"generation": 10**9, "seq": seq, "type": "delta", "text": "of another conversation"})
    until_seen(wired, lambda: wire.said("ack"), "the stray to be acknowledged")
    assert [(frame["generation"], frame["seq"]) for frame in wire.said("ack")] == [(10**9, 7)]


# -- two devices ----------------------------------------------------------------------------------


@pytest.fixture
def devices(chromium, site):
    """Return two pages of one person, each in a browser of its own, and the wire of the second."""
    session = next(site.sessions)
    contexts = [chromium.new_context(viewport={"width": 1000, "height": 700}) for _n in range(2)]
    pages = []
    for context in contexts:
        session.enter(context)
        context.set_default_timeout(10_000)
        pages.append(context.new_page())
    wire = Wire(pages[1])
    for page in pages:
        page.goto(site.server.base_url)
    until_connected(pages[1], wire, 1)
    yield *pages, wire
    for context in contexts:
        context.close()


def open_menu(page, item):
    page.hover(".conversation-item")
    page.click(".conversation-item summary")
    page.click(f".conversation-item .menu-item >> text={item}")


def test_two_devices_show_the_same_while_it_happens(devices, site):
    one, two, _wire = devices
    send(one, "[[deltas=2]] a shared conversation")
    two.locator(".conversation-title").click()
    expect(two.locator(".bubble")).to_have_text("[[deltas=2]] a shared conversation")
    question, gate = held_question()
    wait_until_final(one)
    send(one, question)
    expect(last_answer(two)).to_contain_text(HALF)
    expect(two.get_by_role("button", name="Stop")).to_be_visible()
    release(site.provider, gate)
    expect(last_answer(two)).to_have_text(WORDS)
    wait_until_final(two)

    two.locator(".conversation-item a").first.focus()
    open_menu(one, "Rename")
    one.wait_for_selector(".rename [name=title]:focus")
    one.keyboard.type("Another name")
    one.keyboard.press("Enter")
    expect(two.locator("#title")).to_have_text("Another name")
    expect(two.locator(".conversation-title")).to_have_text("Another name")
    expect(two.locator(".conversation-item a").first).to_be_focused()
    open_menu(one, "Delete")
    expect(banner(two)).to_contain_text("This conversation was deleted.")
    expect(two.get_by_role("button", name="Send")).to_be_disabled()
    expect(two.locator(".conversation-item")).to_have_count(0)
    one.click(".toast >> text=Undo")
    expect(banner(two)).to_have_text("")
    expect(two.get_by_role("button", name="Send")).to_be_enabled()
    expect(two.locator(".conversation-item")).to_have_count(1)


def test_a_device_that_was_away_catches_up_with_everything(devices):
    one, two, wire = devices
    send(one, "[[deltas=2]] before")
    two.locator(".conversation-title").click()
    expect(two.locator(".bubble")).to_have_count(1)
    wait_until_final(one)
    wire.is_down = True
    wire.cut()
    send(one, "meanwhile [[text=unseen]]")
    wait_until_final(one)
    expect(last_answer(two)).not_to_have_text("unseen")
    two.reload()  # with a socket that comes later than what happens next
    send(one, "and then [[text=late]]")
    wait_until_final(one)
    wire.is_down = False
    expect(last_answer(two)).to_have_text("late")
    expect(two.locator(".bubble")).to_have_count(3)

    wire.is_down = True
    wire.cut()
    open_menu(one, "Delete")
    expect(one.locator(".toast")).to_be_visible()
    wire.is_down = False
    expect(banner(two)).to_contain_text("This conversation was deleted.")
    one.click(".toast >> text=Undo")
    expect(banner(two)).to_have_text("")


# -- another version ------------------------------------------------------------------------------


def test_a_page_that_is_too_old_asks_for_a_reload_and_keeps_everything(wired, wire, site):
    wire.on_page_frame = lambda frame: frame | {"v": 0}
    wire.cut()
    until_connected(wired, wire, 2)
    expect(banner(wired)).to_have_text(
        "This site has been updated. Reload the page; your text is saved. Reload"
    )
    send(wired, "of an old page [[text=understood]]")
    expect(wired.locator(".pending .state")).to_contain_text("Not sent yet")
    composer(wired).fill("half a thought")
    wire.on_page_frame = None
    banner(wired).get_by_role("link", name="Reload").click()
    expect(last_answer(wired)).to_have_text("understood")
    expect(composer(wired)).to_have_value("half a thought")
    assert asked(site.provider, "of an old page") == 1


def test_a_page_whose_scripts_are_gone_after_a_deploy_still_sends(page, site):
    page.route(re.compile(r"/chat/page\."), lambda route: route.fulfill(status=404))
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    composer(page).fill("without scripts [[text=sent]]")
    page.unroute_all()
    page.get_by_role("button", name="Send").click()
    expect(last_answer(page)).to_have_text("sent")
