"""Tool calls through a run: stored with the answer, kept when they are abandoned, taken over half."""

import json
import random
from functools import partial

import pytest
from asgiref.sync import sync_to_async

from chat import events
from chat.event_log.read import prune, snapshot_after
from chat.models import Attempt, Conversation, Generation, LoggedEvent, Model
from chat.models.api_request import ApiRequest
from tests.generation.support import add_fallback, ask_once, logged

pytestmark = pytest.mark.django_db

in_thread = sync_to_async

TOOLS = [{"type": "function", "function": {"name": "forecast"}}]
ARGUMENTS = [{"city": "Zürich", "days": 1}, {"city": "Zürich", "days": 2}]


def asking(directives):
    return {"role": "user", "content": f"The weather? [[tool_calls=2]] {directives}"}


async def ask(life, directives="", **more):
    return await ask_once(
        life, await Model.objects.aget(is_default=True), asking(directives), tools=TOOLS, **more
    )


def arguments_of(calls):
    return [json.loads(call["arguments"]) for call in calls]


async def test_calls_are_stored_with_the_answer_and_told_after_the_log_is_gone(living):
    async with living() as life:
        done = await ask(life)
    assert (done.status, done.finish_reason, done.message.text) == ("completed", "tool_calls", "")
    assert arguments_of(done.message.tool_calls) == ARGUMENTS
    assert done.output_tokens
    await in_thread(prune)(done.pk)
    row, _exists = await in_thread(snapshot_after)(done.pk, 0)
    told = events.decode(row.payload).tool_calls
    assert [(call.id, call.name) for call in told] == [
        (call["id"], "forecast") for call in done.message.tool_calls
    ]


async def test_an_abandoned_call_stays_with_its_attempt(living):
    async with living() as life:
        done = await ask(life, "[[cut after=4 on=1]] [[on=2 text=It will rain.]] [[tool_calls=0 on=2]]")
    assert (done.status, done.message.text, done.message.tool_calls) == ("completed", "It will rain.", None)
    first = await Attempt.objects.aget(generation=done, number=1)
    [abandoned] = first.abandoned_calls
    assert (abandoned["name"], abandoned["arguments"] in json.dumps(ARGUMENTS[0])) == ("forecast", True)


@pytest.mark.parametrize("recoveries", [0, 2])
async def test_a_cut_within_a_call_ends_as_interrupted_if_it_may_not_be_recovered(
    living, settings, recoveries
):
    settings.RECOVERIES_PER_GENERATION = recoveries
    async with living() as life:
        done = await ask(life, "[[cut after=4]]")
    assert (done.status, done.error_code) == ("interrupted", "cut")
    assert done.message.tool_calls[0]["name"] == "forecast"


async def test_arguments_count_towards_the_longest_answer(living, settings):
    settings.ANSWER_MAX_CHARS = 10
    async with living() as life:
        done = await ask(life)
    assert (done.status, done.finish_reason) == ("completed", "length")


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_a_lost_process_left_becomes_whole_calls(living, seed):
    """The log of a whole answer, cut at a random event; the same model answers alike, or differently."""
    rng = random.Random(seed)
    async with living() as life:
        whole = await ask(life)
        pieces = await logged(whole.pk, events.ToolCall)
        split = [each for piece in pieces for each in _sliced(piece, rng)]
        left = split[: rng.randrange(1, len(split) + 1)]
        if rng.random() < 0.5:
            left = [events.ToolCall(0, "old", "forecast", '{"town')]
        request = ApiRequest([asking("[[seed=1]]")], {"tools": TOOLS})
        model = await Model.objects.aget(is_default=True)
        verb = partial(Conversation.ask_once, life.user, request, model=model, client_id="lost", source="api")
        accepted = await life.writer.arun(verb)
        await _lose(accepted.generation_id, left)
        await life.run(accepted.generation_id, from_owner="dead")
        done = await life.row(accepted)
    assert (done.status, done.finish_reason) == ("completed", "tool_calls")
    assert arguments_of(done.message.tool_calls) == ARGUMENTS
    restarted = await logged(done.pk, events.Restarted)
    assert bool(restarted) is (left[0].id == "old")
    if not restarted:
        assert done.message.tool_calls[0]["id"] == pieces[0].id


def _sliced(piece, rng):
    """Cut a piece of a call into several, as a slower provider sends them."""
    rest, first = piece.arguments, events.ToolCall(piece.index, piece.id, piece.name)
    found = [first] if piece.id else []
    while rest:
        size = rng.randrange(1, 9)
        found.append(events.ToolCall(piece.index, arguments=rest[:size]))
        rest = rest[size:]
    return found


async def _lose(generation_id, left):
    """Leave a generation as a process left it that died."""
    lost = {"owner": "dead", "epoch": 1, "status": "running", "calls": 1}
    await Generation.objects.filter(pk=generation_id).aupdate(**lost)
    await Attempt.objects.acreate(
        generation_id=generation_id, number=1, model_name="fake", endpoint_name="fake"
    )
    for seq, event in enumerate(left, 1):
        payload = events.encode(event).decode()
        await LoggedEvent.objects.acreate(generation_id=generation_id, seq=seq, payload=payload)


@pytest.mark.parametrize("takes_tools", [True, False])
async def test_a_request_with_tools_falls_back_only_to_models_that_take_tools(living, takes_tools):
    async with living() as life:
        life.provider.script("status=401", model="fake")
        await add_fallback(life.provider, "fake:second", takes_tools=takes_tools)
        done = await ask(life)
    assert done.status == ("completed" if takes_tools else "failed")
