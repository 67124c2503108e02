"""The websocket consumer: frames, events, and answers that no lost socket loses."""

import asyncio
import json
from uuid import uuid4

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.batches.progress import BatchProgress
from chat.models import Batch, Conversation, Endpoint, Generation, Message
from chat.runtime.session_expiry import CHECK_EVERY_TICKS
from chat.websocket import consumer
from chatsite.asgi import application
from tests.websocket.support import Socket, socket_of

pytestmark = pytest.mark.django_db


async def test_a_question_is_acknowledged_then_answered_event_by_event(site, user):
    async with site() as provider, socket_of(user) as socket:
        text = await socket.answer("hello [[deltas=30]]")
        expected = provider.text_for("hello [[deltas=30]]")
    assert text == expected
    assert socket.frames[0]["type"] == "accepted"
    message = await Message.objects.aget(pk=socket.frames[0]["message"])
    assert message.text == expected


async def test_the_same_client_id_five_times_is_one_message_and_one_answer(site, user):
    async with site() as provider, socket_of(user) as socket:
        accepted = [await socket.ask("once", client_id="same") for _n in range(5)]
        await socket.follow_to_end(accepted[-1]["generation"])
        assert len(provider.requests) == 1
    assert len({frame["generation"] for frame in accepted}) == 1
    assert [frame.get("repeat", False) for frame in accepted] == [False, True, True, True, True]
    assert await Message.objects.acount() == 2


async def test_the_same_client_id_with_another_text_is_a_conflict(site, user):
    async with site(), socket_of(user) as socket:
        await socket.ask("this", client_id="same")
        await socket.send("ask", client_id="same", text="that")
        refused = await socket.until(type="refused")
    assert (refused["code"], refused["client_id"]) == ("conflict", "same")


async def test_an_answer_outlives_its_socket_and_another_one_goes_on_from_a_seq(site, user):
    async with site() as provider:
        question = "[[deltas=40]] [[hold=gate after=20]]"
        async with socket_of(user) as first:
            accepted = await first.ask(question)
            await provider.wait_held("gate")
            seen = ""
            while len(seen) < 40:
                frame = await first.until(type="delta")
                seen, last = seen + frame["text"], frame["seq"]
        provider.release("gate")
        async with socket_of(user) as second:
            await second.send("follow", generation=accepted["generation"], after=last)
            rest = await second.follow_to_end(accepted["generation"], after=last)
        assert seen + rest == provider.text_for(question)


async def test_two_tabs_see_the_same_text(site, user):
    async with site() as provider, socket_of(user) as one, socket_of(user) as two:
        await two.send("watch")
        accepted = await one.ask("both [[deltas=40]]")
        changed = await two.until(type="changed", what="started")
        await two.send("follow", generation=changed["generation"])
        texts = await asyncio.gather(
            one.follow_to_end(accepted["generation"]), two.follow_to_end(accepted["generation"])
        )
        assert texts == [provider.text_for("both [[deltas=40]]")] * 2


async def test_a_stop_ends_the_text_and_reaches_the_provider(site, user):
    async with site() as provider, socket_of(user) as socket:
        accepted = await socket.ask("[[hold=gate after=3]]")
        await provider.wait_held("gate")
        await socket.send("stop", generation=accepted["generation"])
        await socket.until(type="stopped")
        await provider.wait_for(lambda record: record.left_s is not None)
    assert (await Generation.objects.aget(pk=accepted["generation"])).status == "stopped"


async def test_regenerate_edit_and_continue_make_siblings_and_more_text(site, user):
    async with site(), socket_of(user) as socket:
        first = await socket.ask("original [[finish=length deltas=5]]")
        await socket.follow_to_end(first["generation"])

        await socket.send("ask", client_id="again", regenerate=first["user_message"])
        again = await socket.until(type="accepted")
        await socket.follow_to_end(again["generation"])

        edited = await socket.ask("edited", conversation=first["conversation"], parent=None)
        await socket.follow_to_end(edited["generation"])

        await socket.send("ask", client_id="more", **{"continue": first["message"]})
        more = await socket.until(type="accepted")
        await socket.follow_to_end(more["generation"])
    answers = Message.objects.filter(parent_id=first["user_message"])
    assert {message.pk async for message in answers} == {first["message"], again["message"]}
    roots = Message.objects.filter(conversation=first["conversation"], parent=None)
    assert {message.pk async for message in roots} == {first["user_message"], edited["user_message"]}
    assert more["message"] == first["message"]


async def test_a_first_question_carries_the_settings_of_its_conversation(site, user):
    async with site(), socket_of(user) as socket:
        accepted = await socket.ask("hi [[deltas=1]]", system_prompt="Be brief.", temperature=1)
        await socket.send("ask", client_id="hot", text="hi", temperature=9)
        refused = await socket.until(type="refused")
    assert (refused["code"], refused["client_id"]) == ("bad_settings", "hot")
    conversation = await Conversation.objects.aget(pk=accepted["conversation"])
    assert (conversation.system_prompt, conversation.temperature) == ("Be brief.", 1)


async def test_a_page_of_a_conversation_that_is_gone_hears_that_it_came_back(site, user):
    async with site() as provider, socket_of(user) as socket:
        await socket.send("watch", conversation=str(uuid4()))
        await socket.until(type="refused", code="not_found")
        provider.runtime.notifications.changed(user.pk, "any", "restored")
        assert (await socket.until(type="changed"))["what"] == "restored"


async def test_nobody_gets_in_without_a_session(db):
    headers = [(b"origin", b"http://localhost:8000"), (b"host", b"localhost:8000")]
    communicator = WebsocketCommunicator(application, "/ws/", headers=headers)
    assert (await communicator.connect(timeout=20))[0]
    assert await Socket(communicator).closed_with() == consumer.SIGNED_OUT


async def test_a_session_that_ended_is_not_served_any_more(site, user):
    async with site(), socket_of(user) as socket:
        await Session.objects.all().adelete()
        await socket.send("ask", client_id="a", text="x")
        assert await socket.closed_with() == consumer.SIGNED_OUT
    assert not await Conversation.objects.aexists()


@pytest.mark.parametrize("ending", ["signed out", "disabled", "another password"])
async def test_the_tick_closes_the_sockets_of_sessions_that_ended(site, user, ending):
    async with site() as provider, socket_of(user) as socket:
        if ending == "signed out":
            await Session.objects.all().adelete()
        else:
            user.is_active = ending != "disabled"
            user.set_password("something else")
            await user.asave()
        for _n in range(CHECK_EVERY_TICKS):
            await provider.runtime.heartbeat.tick()
        assert await socket.closed_with() == consumer.SIGNED_OUT


async def test_a_socket_that_the_server_gives_up_leaves_nothing_behind(site, user):
    async with site() as provider, socket_of(user) as socket:
        connections, notifications = provider.runtime.connections, provider.runtime.notifications
        await socket.send("watch")
        await socket.answer("hello [[deltas=1]]")
        assert len(connections.sockets) == 1
        assert set(notifications.subscribers()) == {user.pk}
        await socket.given_up()
        assert not connections.sockets
        assert not notifications.subscribers()


def size_of(frame):
    """Return how long a frame was on the wire."""
    return len(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))


async def test_a_page_that_does_not_acknowledge_is_sent_no_more_than_its_window(site, user, settings):
    settings.ACK_WINDOW_BYTES = 5_000
    async with site() as provider, socket_of(user) as socket:
        question = "[[deltas=400 chars=200 rate=2000]]"
        accepted = await socket.ask(question)
        async for _rows in provider.runtime.log.follow(accepted["generation"]):
            pass
        # All is stored, and the page has been sent what fits its window.
        text, rounds = "", 0
        while socket.frames[-1]["type"] != "completed":
            sent = 0
            while socket.has_more or not sent:
                frame = await socket.next()
                text += frame.get("text", "")
                sent += size_of(frame)
            largest = max(size_of(frame) for frame in socket.frames)
            assert sent < settings.ACK_WINDOW_BYTES + 2 * largest
            rounds += 1
            await socket.send("ack", generation=accepted["generation"], seq=frame.get("seq", 0))
        assert text == provider.text_for(question)
    assert rounds > 5


async def test_a_page_reads_a_message_as_it_looks_when_it_is_final(site, user, other_user):
    async with site(), socket_of(user) as socket:
        await socket.answer("Say *this* [[text=An **answer**.]]")
        accepted = socket.frames[0]
        await socket.send("read", message=accepted["message"])
        article = await socket.until(type="article")
        await socket.send("read", message=accepted["user_message"])
        question = await socket.until(type="article")
        async with socket_of(other_user) as stranger:
            await stranger.send("read", message=accepted["message"])
            refused = await stranger.until(type="refused")
    assert f'id="m{accepted["message"]}"' in article["html"]
    assert "<strong>answer</strong>" in article["html"]
    assert "Say *this*" in question["html"]
    assert refused["code"] == "not_found"
    conversation = await Conversation.objects.aget(pk=accepted["conversation"])
    run = await Generation.objects.aget(pk=accepted["generation"])
    assert conversation.seen_at > run.finished_at


async def test_a_message_too_long_for_a_frame_is_read_elsewhere(site, user, monkeypatch):
    monkeypatch.setattr(consumer, "ARTICLE_MAX_CHARS", 100)
    async with site(), socket_of(user) as socket:
        await socket.answer("hello")
        await socket.send("read", message=socket.frames[0]["message"])
        assert "html" not in await socket.until(type="article")


async def test_a_question_for_later_is_accepted_and_its_end_is_a_notice(site, user):
    async with site() as provider, socket_of(user) as socket:
        await Endpoint.objects.aupdate(has_batch_api=True)
        await socket.send("watch", conversation=None)
        accepted = await socket.ask("Why?", later=True)
        assert accepted["later"]
        assert provider.requests == []
        for _ in range(5):
            await Batch.objects.aupdate(next_look_at=timezone.now())
            await BatchProgress().advance(provider.runtime.runner)
        notice = await socket.until(type="changed", what="finished")
        assert notice["conversation"] == accepted["conversation"]
        await socket.send("read", message=accepted["message"])
        article = await socket.until(type="article")
        assert provider.text_for("Why?")[:20] in article["html"]
        await socket.send("ask", client_id="odd", regenerate=1, later=True)
        assert (await socket.until(type="refused"))["code"] == "malformed"


async def test_a_page_hears_that_a_batch_is_further(site, user):
    async with site() as provider, socket_of(user) as socket:
        await socket.send("watch", conversation=None)
        await socket.send("ping")
        await socket.until(type="pong")
        batch = uuid4()
        provider.runtime.notifications.batch_changed(user.pk, batch)
        frame = await socket.until(type="changed")
    assert (frame["what"], frame["batch"], frame["conversation"]) == ("batch", str(batch), "")
