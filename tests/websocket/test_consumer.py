"""The websocket: every frame, every refusal, and answers that no lost socket loses."""

import asyncio
import contextlib
import json
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.test import Client

from chat.fakeprovider import FakeProvider
from chat.models import Conversation, Endpoint, Generation, Message, Model
from chat.runtime.connections import CHECK_EVERY_TICKS
from chat.websocket import consumer
from chatsite.asgi import application
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db


class Socket:
    """A page's socket: sends frames, and collects what comes until it has what it waits for."""

    def __init__(self, communicator):
        self._communicator = communicator
        self.frames = []

    async def send(self, type_, **fields):
        await self._communicator.send_to(text_data=json.dumps({"type": type_, **fields}))

    async def send_raw(self, text=None, data=None):
        await self._communicator.send_to(text_data=text, bytes_data=data)

    async def next(self):
        frame = json.loads(await self._communicator.receive_from(timeout=20))
        self.frames.append(frame)
        return frame

    async def until(self, **wanted):
        """Return the next frame that has all of these fields."""
        while True:
            frame = await self.next()
            if wanted.items() <= frame.items():
                return frame

    async def ask(self, text, **fields):
        await self.send("ask", client_id=fields.pop("client_id", uuid4().hex), text=text, **fields)
        return await self.until(type="accepted")

    async def answer(self, text, **fields):
        """Ask and return the whole text, as a page would draw it."""
        accepted = await self.ask(text, **fields)
        return await self.follow_to_end(accepted["generation"])

    async def follow_to_end(self, generation, after=0):
        text, last = "", after
        while True:
            frame = await self.until(generation=generation)
            if frame["type"] == "changed":
                continue
            if frame["type"] == "snapshot":
                return frame["text"]
            assert frame["seq"] == last + 1
            last = frame["seq"]
            if frame["type"] == "delta":
                text += frame["text"]
            if frame["type"] in {"completed", "stopped", "failed", "interrupted"}:
                return text

    @property
    def has_more(self):
        return not self._communicator.output_queue.empty()

    async def closed_with(self):
        while True:
            message = await self._communicator.receive_output(timeout=20)
            if message["type"] == "websocket.close":
                return message["code"]


@pytest.fixture
def site():
    """Return a context manager: a fake provider, the default model on it, a runtime on this loop."""

    @contextlib.asynccontextmanager
    async def open_site():
        async with FakeProvider() as provider, open_runtime() as runtime:
            provider.runtime = runtime
            endpoint = await Endpoint.objects.acreate(name="fake", base_url=provider.base_url)
            await Model.objects.acreate(endpoint=endpoint, name="fake", is_default=True)
            yield provider

    return open_site


async def page_of(user, path="/ws/"):
    client = Client()
    await sync_to_async(client.force_login)(user)
    headers = [
        (b"origin", b"http://localhost:8000"),
        (b"host", b"localhost:8000"),
        (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()),
    ]
    return WebsocketCommunicator(application, path, headers=headers)


@contextlib.asynccontextmanager
async def socket_of(user):
    communicator = await page_of(user)
    assert (await communicator.connect(timeout=20))[0]
    try:
        yield Socket(communicator)
    finally:
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            await communicator.disconnect(timeout=20)


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "malformed"),
        ("[]", "malformed"),
        ("null", "malformed"),
        ('{"type":"shout"}', "unknown_type"),
        ('{"hello":1}', "malformed"),
        ('{"type":"stop"}', "malformed"),
        ('{"type":"follow","generation":"x"}', "malformed"),
        ('{"type":"follow","generation":99999999999999999999999}', "not_found"),
        ('{"type":"follow","generation":-1}', "not_found"),
        ('{"type":"ping","v":2}', "outdated"),
        ('{"type":"sing","v":2}', "outdated"),
        ('{"type":"follow","generation":"x","v":2}', "outdated"),
        ('{"type":"ask","client_id":"a"}', "malformed"),
        ('{"type":"ask","client_id":"a","text":"x","regenerate":1}', "malformed"),
        ('{"type":"ask","client_id":"","text":"x"}', "bad_client_id"),
        ('{"type":"ask","client_id":"\\u0000","text":"x"}', "bad_client_id"),
        ('{"type":"ask","client_id":"a","text":"  \\n "}', "empty"),
        ('{"type":"ask","client_id":"a","text":"\\u0000"}', "empty"),
        ('{"type":"ask","client_id":"a","text":"x","conversation":"1"}', "malformed"),
        ('{"type":"ask","client_id":"a","text":"x","parent":7}', "bad_parent"),
        ('{"type":"ask","client_id":"a","text":"x","model":77}', "no_model"),
        ('{"type":"ask","client_id":"a","regenerate":99999999999999999999999}', "not_found"),
        ('{"type":"ask","client_id":"a","continue":5}', "not_found"),
        ("x" * 900_000, "frame_too_large"),
        ("[" * 100_000, "malformed"),
    ],
)
async def test_nonsense_is_refused_and_the_socket_lives_on(site, user, text, code):
    async with site(), socket_of(user) as socket:
        await socket.send_raw(text)
        refused = await socket.next()
        assert (refused["type"], refused["code"]) == ("refused", code)
        assert refused["message"]
        await socket.send("ping")
        assert (await socket.next())["type"] == "pong"
    assert not await Generation.objects.aexists()


async def test_a_binary_frame_is_refused(site, user):
    async with site(), socket_of(user) as socket:
        await socket.send_raw(data=b"\x00\xff")
        assert (await socket.next())["code"] == "binary"


async def test_a_text_over_the_limit_is_refused_with_the_limit_named(site, user, settings):
    settings.MESSAGE_MAX_CHARS = 100
    async with site(), socket_of(user) as socket:
        await socket.send("ask", client_id="long", text="x" * 101)
        refused = await socket.next()
    assert (refused["code"], refused["client_id"]) == ("too_long", "long")
    assert "100" in refused["message"]
    assert not await Message.objects.aexists()


async def test_a_first_question_carries_the_settings_of_its_conversation(site, user):
    async with site(), socket_of(user) as socket:
        accepted = await socket.ask("hi [[deltas=1]]", system_prompt="Be brief.", temperature=1)
        await socket.send("ask", client_id="hot", text="hi", temperature=9)
        refused = await socket.until(type="refused")
    assert (refused["code"], refused["client_id"]) == ("bad_settings", "hot")
    conversation = await Conversation.objects.aget(pk=accepted["conversation"])
    assert (conversation.system_prompt, conversation.temperature) == ("Be brief.", 1)


async def test_nul_and_lone_surrogates_in_a_question_break_nothing(site, user):
    async with site(), socket_of(user) as socket:
        await socket.send_raw('{"type":"ask","client_id":"a","text":"be\\u0000fore \\ud800 after"}')
        accepted = await socket.until(type="accepted")
        await socket.follow_to_end(accepted["generation"])
    assert (await Message.objects.aget(pk=accepted["user_message"])).text == "before � after"


async def test_a_frame_that_is_not_right_is_refused_with_its_client_id(site, user):
    async with site(), socket_of(user) as socket:
        await socket.send("ask", client_id="mine", text=["not", "text"])
        refused = await socket.until(type="refused")
    assert (refused["code"], refused["client_id"]) == ("malformed", "mine")


async def test_a_page_of_a_conversation_that_is_gone_hears_that_it_came_back(site, user):
    async with site() as provider, socket_of(user) as socket:
        await socket.send("watch", conversation=str(uuid4()))
        await socket.until(type="refused", code="not_found")
        provider.runtime.notifications.changed(user.pk, "any", "restored")
        assert (await socket.until(type="changed"))["what"] == "restored"


async def test_a_page_made_for_one_person_is_not_served_as_another(site, user, other_user):
    async with site():
        communicator = await page_of(user, f"/ws/?user={other_user.pk}")
        assert (await communicator.connect(timeout=20))[0]
        assert await Socket(communicator).closed_with() == consumer.OTHER_USER
        communicator = await page_of(user, f"/ws/?user={user.pk}")
        assert (await communicator.connect(timeout=20))[0]
        await Socket(communicator).send("ping")
        assert json.loads(await communicator.receive_from(timeout=20))["type"] == "pong"
        await communicator.disconnect(timeout=20)


async def test_what_is_someone_elses_answers_like_what_does_not_exist(site, user, other_user):
    async with site() as provider, socket_of(other_user) as theirs:
        accepted = await theirs.ask("secret [[hold=gate after=1]]")
        async with socket_of(user) as mine:
            frames = [
                {"type": "follow", "generation": accepted["generation"]},
                {"type": "stop", "generation": accepted["generation"]},
                {"type": "watch", "conversation": accepted["conversation"]},
                {"type": "ask", "client_id": "a", "text": "x", "conversation": accepted["conversation"]},
                {"type": "ask", "client_id": "b", "regenerate": accepted["user_message"]},
                {"type": "ask", "client_id": "c", "continue": accepted["message"]},
            ]
            missing = [
                {"type": "follow", "generation": 10**9},
                {"type": "stop", "generation": 10**9},
                {"type": "watch", "conversation": str(uuid4())},
                {"type": "ask", "client_id": "a", "text": "x", "conversation": str(uuid4())},
                {"type": "ask", "client_id": "b", "regenerate": 10**9},
                {"type": "ask", "client_id": "c", "continue": 10**9},
            ]
            for foreign, absent in zip(frames, missing, strict=True):
                answers = []
                for frame in (foreign, absent):
                    await mine.send_raw(json.dumps(frame))
                    answer = await mine.next()
                    answer.pop("generation", None)
                    answers.append(answer)
                assert answers[0] == answers[1]
                assert answers[0]["code"] == "not_found"
        provider.release("gate")
        await theirs.follow_to_end(accepted["generation"])


async def test_a_parent_that_is_still_being_written_is_refused(site, user):
    async with site() as provider, socket_of(user) as socket:
        accepted = await socket.ask("[[hold=gate after=1]]")
        await socket.send("ask", client_id="b", text="more", conversation=accepted["conversation"])
        assert (await socket.until(type="refused"))["code"] == "busy"
        await provider.wait_held("gate")
        provider.release("gate")
        await socket.until(type="completed")


async def test_more_answers_at_once_than_allowed_are_refused(site, user, settings):
    settings.RUNNING_PER_USER = 2
    async with site() as provider, socket_of(user) as socket:
        for _n in range(2):
            await socket.ask("[[hold=gate after=1]]")
        await socket.send("ask", client_id="third", text="x")
        refused = await socket.until(type="refused")
        assert (refused["code"], refused["client_id"]) == ("too_many_running", "third")
        await provider.wait_held("gate")
        provider.release("gate")
        await socket.until(type="completed")


async def test_more_questions_a_minute_than_allowed_are_refused_with_the_time_to_wait(site, user, settings):
    settings.ASKS_PER_MINUTE = 2
    async with site(), socket_of(user) as socket:
        for n in range(2):
            await socket.answer(f"{n}")
        await socket.send("ask", client_id="third", text="x")
        refused = await socket.until(type="refused")
    assert refused["code"] == "too_many_asks"
    assert 0 < refused["retry_after_s"] <= 60


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
