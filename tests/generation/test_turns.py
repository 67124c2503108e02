"""What is sent always alternates and ends with the user, whatever became of the answers before."""

import asyncio
import random
from functools import partial

import pytest
from django.utils import timezone

from chat.generation.claim import claim
from chat.generation.prompt import LEFT_OUT_AT_ONCE, PromptFitter, fit
from chat.generation.turns import follows_unanswered
from chat.models import Conversation, Endpoint, Generation, Message, Model
from chat.upstream import Target, errors
from tests.generation.support import shown

pytestmark = pytest.mark.django_db

USER, ASSISTANT = Message.Role.USER, Message.Role.ASSISTANT


def said(*texts):
    """Return messages that alternate, the user's first."""
    return [Message(role=ASSISTANT if n % 2 else USER, text=text) for n, text in enumerate(texts)]


def roles(prompt):
    return [message["role"] for message in prompt.messages]


def contents(fitted):
    return [message["content"] for message in fitted.prompt.messages]


# -- with a provider ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome",
    [
        "[[status=401]]",
        "[[status=503]]",
        "[[role_only]]",
        "[[reset_early]]",
        "[[empty]]",
        "[[reasoning=3 deltas=0]]",
    ],
)
async def test_after_a_question_without_an_answer_the_next_one_is_answered(living, settings, outcome):
    settings.RETRY_POLICY = {"calls_per_target": 1, "backoff_first_s": 0.0}
    async with living(name="fake-alternate") as life:
        first = await life.answer(f"{outcome} one")
        assert first.message.text == ""
        second = await life.answer("two", conversation_id=first.message.conversation_id)
    assert second.status == "completed"
    assert life.provider.requests[-1].question.endswith("one\n\ntwo")


async def test_after_a_stop_before_the_first_word_the_next_question_is_answered(living):
    async with living(name="fake-alternate") as life:
        accepted = await life.ask("[[hold=gate after=0]] one")
        run = asyncio.create_task(life.run(accepted.generation_id))
        await life.provider.wait_held("gate")
        await life.stop(accepted.generation_id)
        await run
        second = await life.answer("two", conversation_id=accepted.conversation_id)
    assert second.status == "completed"


@pytest.mark.parametrize("outcome", ["[[filtered]]", "[[status=400]]", "[[status=422]]"])
async def test_a_question_that_the_provider_refused_does_not_spoil_the_next_one(living, outcome):
    async with living(name="fake-alternate") as life:
        first = await life.answer(f"{outcome} one")
        second = await life.answer("two", conversation_id=first.message.conversation_id)
        third = await life.answer("three", conversation_id=first.message.conversation_id)
    assert life.provider.requests[-1].question == "three"
    assert (first.status, second.status, third.status) == ("failed", "completed", "completed")
    assert (second.left_out, third.left_out) == (1, 1)


async def test_a_long_question_without_an_answer_is_left_out_when_both_do_not_fit(living):
    async with living(name="fake-context-200") as life:
        first = await life.answer("[[status=401]] " + "long " * 150)
        second = await life.answer("short " * 100, conversation_id=first.message.conversation_id)
    assert (second.status, second.left_out) == ("completed", 1)


async def test_a_partial_answer_is_followed_by_the_next_question(living):
    async with living(name="fake-alternate") as life:
        accepted = await life.ask("[[hold=gate after=3]] one")
        run = asyncio.create_task(life.run(accepted.generation_id))
        record = await life.provider.wait_held("gate")
        await shown(life, accepted.generation_id, record.text)
        await life.stop(accepted.generation_id)
        await run
        second = await life.answer("two", conversation_id=accepted.conversation_id)
    assert (second.status, life.provider.requests[-1].question) == ("completed", "two")


# -- the prompt --------------------------------------------------------------------------------------


def test_neighbouring_turns_of_the_user_are_joined_and_counted_as_sent():
    fitted = fit(said("one", "", "two", " \n", "three", "answer", "four"), Model(context_tokens=16_000))
    assert contents(fitted) == ["one\n\ntwo\n\nthree", "answer", "four"]
    assert (fitted.left_out, fitted.sent) == (0, 5)


def test_a_question_that_was_sent_again_is_not_doubled():
    fitted = fit(said("Hello", "", "Hello", "", "Hello"), Model(context_tokens=16_000))
    assert contents(fitted) == ["Hello"]


def test_answers_without_text_do_not_make_earlier_messages_be_left_out():
    texts = [f"message {n}" for n in range(4 * LEFT_OUT_AT_ONCE + 1)]
    texts[3] = ""
    assert fit(said(*texts), Model(context_tokens=16_000)).left_out == 0


@pytest.mark.parametrize("continuation", Model.Continuation.values)
def test_a_blank_partial_answer_is_not_sent(continuation):
    fitted = fit(said("one"), Model(context_tokens=16_000, continuation=continuation), partial=" \n")
    assert (contents(fitted), fitted.prompt.prefill) == (["one"], "")


def test_the_question_before_is_only_said_to_be_sent_too_if_it_was(user, model):
    first = Conversation.ask(user, "one", client_id="a")
    end(first, "failed", error_code=errors.ServerFailed.code)
    second = Conversation.ask(user, "two", client_id="b", conversation_id=first.conversation_id)
    question = Message.objects.get(pk=second.user_message_id)
    assert follows_unanswered(question)
    Generation.objects.filter(pk=first.generation_id).update(error_code=errors.ContentFiltered.code)
    assert not follows_unanswered(question)
    Message.objects.filter(pk=first.message_id).update(text="an answer")
    assert not follows_unanswered(Message.objects.get(pk=second.user_message_id))


# -- random conversations -----------------------------------------------------------------------------


def end(started, status, *, text="", thinking="", error_code=""):
    """Store how an answer ended, as a run does."""
    Message.objects.filter(pk=started.message_id).update(text=text, thinking=thinking)
    Generation.objects.filter(pk=started.generation_id).update(
        status=status, error_code=error_code, finished_at=timezone.now()
    )


ENDS = [
    partial(end, status="completed", text="An answer. " * 5),
    partial(end, status="completed", text="Long. " * 150),
    partial(end, status="completed"),
    partial(end, status="completed", text=" \n"),
    partial(end, status="completed", thinking="Hm."),
    partial(end, status="stopped"),
    partial(end, status="stopped", text="Half an"),
    partial(end, status="interrupted", text="Half an answ"),
    partial(end, status="failed", error_code=errors.ServerFailed.code),
    partial(end, status="failed", error_code=errors.ContentFiltered.code),
    partial(end, status="failed", error_code=errors.ContextTooLong.code, thinking="Hm."),
]


def step(rng, user, conversation_id, name):
    """Ask at the end, edit an earlier question, or regenerate or continue an earlier answer."""
    if conversation_id is None:
        return Conversation.ask(user, f"question {name}", client_id=name)
    conversation = Conversation.objects.get(pk=conversation_id)
    if rng.random() < 0.6:
        return Conversation.ask(user, f"question {name}", client_id=name, conversation_id=conversation_id)
    chosen = rng.choice(list(conversation.messages.all()))
    last = chosen.generations.order_by("-pk").first()
    if last is not None and last.can_resume:
        return Conversation.resume(user, chosen.pk, client_id=name)
    if chosen.role == ASSISTANT:
        return Conversation.regenerate(user, chosen.parent_id, client_id=name)
    return Conversation.ask(
        user, "edited " * rng.randint(1, 60), client_id=name, conversation_id=conversation_id,
        parent_id=chosen.parent_id, is_at_leaf=False,
    )  # fmt: skip


def check(prompt, *, system, question, continued):
    """Assert that the prompt has only turns that any chat template accepts."""
    sent = roles(prompt)
    if system:
        assert sent.pop(0) == "system"
    assert all(role == ("assistant" if n % 2 else "user") for n, role in enumerate(sent))
    assert sent[-1] == ("assistant" if prompt.prefill else "user")
    assert all(message["content"].strip() for message in prompt.messages)
    last = [message["content"] for message in prompt.messages if message["role"] == "user"][-1]
    assert last.endswith(question) or continued


@pytest.mark.parametrize("seed", range(12))
def test_any_conversation_is_sent_as_alternating_turns_that_end_with_the_user(user, settings, seed):
    settings.ASKS_PER_MINUTE = 1000
    rng = random.Random(seed)
    endpoint = Endpoint.objects.create(name="nowhere", base_url="http://127.0.0.1:9/v1")
    model = Model.objects.create(
        endpoint=endpoint,
        name="m",
        is_default=True,
        context_tokens=rng.choice([400, 1000, 16_000]),
        system_prompt=rng.choice(["", "Be brief."]),
        continuation=rng.choice(Model.Continuation.values),
    )
    conversation_id = None
    for n in range(25):
        started = step(rng, user, conversation_id, f"{seed}-{n}")
        conversation_id = started.conversation_id
        claimed = claim(started.generation_id, "me", "")
        target = Target("http://127.0.0.1:9/v1", "", "m")
        question = Message.objects.get(pk=started.user_message_id).text
        for text, refused in (("", None), ("written so far", None), ("", errors.ContextTooLong())):
            prompt = PromptFitter(claimed, {target: model})(
                target, partial=text, may_prefill=rng.random() < 0.5, refused=refused
            )
            continued = bool(text or claimed.generation.prefix)
            check(prompt, system=model.system_prompt, question=question, continued=continued)
        rng.choice(ENDS)(started)
