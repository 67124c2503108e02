"""What the websocket refuses: nonsense, foreign rows, more than the limits allow."""

import json
from uuid import uuid4

import pytest

from chat.models import Budget, Generation, Message
from chat.models.budget import presence
from chat.websocket import consumer
from tests.websocket.support import Socket, page_of, socket_of

pytestmark = pytest.mark.django_db


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


async def test_a_budget_is_announced_once_and_then_refuses_what_does_not_fit(site, user):
    async with site(), socket_of(user) as socket:
        budget = {"scope": "user", "user": user, "unit": "tokens", "amount": 4_500, "warning_percent": 1}
        await Budget.objects.acreate(**budget)
        warnings = []
        for _ in range(3):
            accepted = await socket.ask("hello [[deltas=60]]")
            warnings.append(accepted.get("warning", ""))
            await socket.follow_to_end(accepted["generation"])
        assert warnings[0] == warnings[2] == ""
        assert "Your monthly budget is nearly used up" in warnings[1]
        await socket.send("ask", client_id="long", text="hello " * 400)
        refused = await socket.until(type="refused")
    assert (refused["code"], refused["client_id"]) == ("budget_exceeded", "long")
    assert "has no room for this" in refused["message"]
    assert "retry_after_s" not in refused
    presence.note(any_exist=False)
