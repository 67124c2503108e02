"""Events in Chromium: lost, repeated and unknown ones, and acknowledgements."""

import time

import pytest
from playwright.sync_api import expect

from tests.browser.steps import until_seen
from tests.support.chat_page import HALF, WORDS, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser


def test_lost_and_repeated_events_leave_no_gap_and_no_repeat(wired, sockets, site):
    question, gate = held_question()
    losses = [4, 8, 9, 14]
    left, highest, is_repaired = list(losses), 0, True

    def lossy(frame):
        nonlocal highest, is_repaired
        seq = frame.get("seq", 0)
        if 0 < seq <= highest:  # the server begins again, because the page asked for what was lost
            is_repaired = True
        highest = max(highest, seq)
        # What is sent again can have several deltas in a frame.
        if is_repaired and left and seq >= left[0]:
            del left[0]
            is_repaired = False
            return []
        return [frame, frame]

    sockets.on_server_frame = lossy
    send(wired, question)
    # While the answer is held, the page learns what it lost by asking for it only.
    expect(last_answer(wired)).to_contain_text("word23 w")
    assert left == []
    assert len(sockets.sent("follow")) >= 2
    release(site.provider, gate)
    wait_until_final(wired)
    expect(last_answer(wired)).to_have_text(WORDS)


def test_events_show_the_status_and_an_unknown_one_is_counted(wired, sockets, site):
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
        sockets.send_to_page({"generation": last["generation"], "seq": last["seq"], "type": type_, **fields})

    sockets.on_server_frame = shifted
    wired.set_viewport_size({"width": 360, "height": 740})
    send(wired, question)
    expect(last_answer(wired)).to_contain_text("word23 w")  # all there is before the gate
    status = wired.locator("article.answer .status")
    notes = wired.locator("article.answer .answer-note")
    spoken = wired.locator("#announcer")

    happens("invented_tomorrow", text="unknown")
    happens("retrying", attempt=2, of=3, wait_s=30, code="overloaded", message="The provider is overloaded.")
    expect(status).to_contain_text("The provider is overloaded. Attempt 2 of 3 in 30 s.")
    expect(spoken).to_contain_text("Attempt 2 of 3 in 30 s.")
    happens("continued", model="fake", code="cut", message="It was cut. The model goes on.")
    expect(status).to_have_text("It was cut. The model goes on.")
    expect(spoken).to_contain_text("It was cut. The model goes on.")
    expect(last_answer(wired)).to_contain_text(HALF)
    happens("started", model="fake", attempt=2)
    expect(status).to_have_text("It was cut. The model goes on.")
    happens("delta", text=" and more.")
    expect(last_answer(wired)).to_contain_text("and more.")
    expect(status).to_have_text("")
    expect(notes).to_have_count(0)
    happens("switched", model="other", code="overloaded", message="Overloaded. Going on with other.")
    expect(notes).to_have_text("Overloaded. Going on with other.")
    happens("restarted", reason="cut")
    expect(notes.last).to_have_text("The answer was interrupted and is being generated again.")
    expect(last_answer(wired)).to_have_text("")
    happens("delta", text="Quite another answer.")
    expect(last_answer(wired)).to_have_text("Quite another answer.")
    happens("queued", position=3)
    expect(status).to_have_text("Waiting in the queue, position 3…")
    assert wired.evaluate("document.documentElement.scrollWidth") == 360

    release(site.provider, gate)
    # The stored answer replaces what was drawn.
    expect(last_answer(wired)).to_have_text(WORDS)
    wait_until_final(wired)
    assert not sockets.sent("follow")


def test_a_page_acknowledges_at_most_four_times_a_second(wired, sockets):
    began = time.monotonic()
    send(wired, "[[rate=100 deltas=200]] a fast one")
    wait_until_final(wired)
    assert 1 < len(sockets.sent("ack")) <= 4 * (time.monotonic() - began) + 2


def test_a_page_without_animation_frames_keeps_drawing_and_acknowledging(page, sockets, site):
    # Browsers give no frames to a hidden page.
    page.add_init_script("window.requestAnimationFrame = () => 1")
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    question, gate = held_question()
    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)
    until_seen(page, lambda: sockets.sent("ack"), "an acknowledgement")
    release(site.provider, gate)
    expect(last_answer(page)).to_have_text(WORDS)


def test_an_answer_that_is_not_shown_is_acknowledged_too(wired, sockets):
    # Otherwise it would use up the window of the answers that are shown.
    for seq in (6, 7):
        sockets.send_to_page(
            {"generation": 10**9, "seq": seq, "type": "delta", "text": "of another conversation"}
        )
    until_seen(wired, lambda: sockets.sent("ack"), "the stray to be acknowledged")
    assert [(frame["generation"], frame["seq"]) for frame in sockets.sent("ack")] == [(10**9, 7)]
