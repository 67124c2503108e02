"""A question of the chat that its provider answers later: once, at the batch price, and never forgotten."""

import contextlib
import json
import re
import urllib.request
from decimal import Decimal
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat import upstream
from chat.batches import later
from chat.batches.progress import BatchProgress
from chat.errors import RequestRefused
from chat.fakeprovider.threaded import ThreadedProvider
from chat.models import Attempt, Batch, Budget, BudgetUse, Conversation, Endpoint, Generation, Model
from tests.batches.test_provider import Deaths, DyingWriter, Killed, dying_provider
from tests.support.attachments import attach
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def fake():
    with ThreadedProvider.running() as provider:
        yield provider


@pytest.fixture
def priced(fake):
    endpoint = Endpoint.objects.create(name="there", base_url=fake.base_url, has_batch_api=True)
    prices = {"input_usd_per_million": 1_000, "output_usd_per_million": 2_000, "batch_factor": Decimal("0.4")}
    return Model.objects.create(endpoint=endpoint, name="fake", is_default=True, **prices)


def asking(user, text="Why?", client_id="c1", **values):
    return partial(Conversation.ask, user, text, client_id=client_id, **values)


async def advance(runtime, looks=1):
    """Do what the heartbeat has a process do about batches, as if the time for it had come."""
    for _ in range(looks):
        await Batch.objects.filter(finished_at=None).aupdate(next_look_at=timezone.now())
        await BatchProgress().advance(runtime.runner)


def sent_in(fake, batch):
    """Return the body of the only line that the provider was sent."""
    with urllib.request.urlopen(f"{fake.base_url}/files/{batch.provider_file}/content") as response:
        return json.load(response)["body"]


async def get(pk):
    return await Generation.objects.select_related("message", "model").aget(pk=pk)


def noted(runtime, user):
    notices = []
    runtime.notifications.open()
    runtime.notifications.subscribe(user.pk, notices.append)
    return notices


async def test_the_answer_comes_once_at_the_batch_price_with_a_notice(user, priced, fake):
    async with open_runtime() as runtime:
        notices = noted(runtime, user)
        first = await later.ask_later(runtime.runner, user, asking(user))
        again = await later.ask_later(runtime.runner, user, asking(user))
        assert (again.generation_id, again.is_repeat) == (first.generation_id, True)
        assert await Batch.objects.acount() == 1
        waiting = await get(first.generation_id)
        assert (waiting.status, waiting.source, waiting.is_at_provider) == ("queued", "batch", True)
        await runtime.heartbeat.tick()  # claims nothing of it, and takes no process for dead
        await advance(runtime, looks=5)
        ended = await get(first.generation_id)
    assert (ended.status, ended.message.text) == ("completed", fake.text_for("Why?"))
    assert ended.message.html
    cost = Decimal(ended.input_tokens) * 1_000 + Decimal(ended.output_tokens) * 2_000
    assert ended.cost_usd == (cost / 1_000_000 * Decimal("0.4")).quantize(Decimal("0.000001"))
    assert await Attempt.objects.filter(generation=ended).acount() == 1
    said = [(each.what, each.generation) for each in notices]
    assert said[0] == ("created", None)
    assert said[-1] == ("finished", ended.pk)


async def test_what_is_sent_is_the_conversation(user, priced, fake):
    async with open_runtime() as runtime:
        first = await later.ask_later(runtime.runner, user, asking(user, system_prompt="Be brief."))
        await advance(runtime, looks=5)
        follow_up = asking(user, "And then?", "c2", conversation_id=first.conversation_id)
        second = await later.ask_later(runtime.runner, user, follow_up)
        await advance(runtime, looks=5)
        answer = await get(second.generation_id)
    batch = await Batch.objects.aget(lines__generation=answer)
    body = await sync_to_async(sent_in)(fake, batch)
    said = [(each["role"], each["content"]) for each in body["messages"]]
    earlier = [("system", "Be brief."), ("user", "Why?"), ("assistant", fake.text_for("Why?"))]
    assert said == [*earlier, ("user", "And then?")]
    assert answer.message.text == fake.text_for("And then?")


async def test_a_question_with_files_is_refused_and_not_stored(user, priced, fake):
    file = await sync_to_async(attach)(user, kind="text", text="words")
    async with open_runtime() as runtime:
        with pytest.raises(RequestRefused) as refused:
            await later.ask_later(runtime.runner, user, asking(user, attachments=[file.pk]))
    assert refused.value.code == "no_files_later"
    assert not await Batch.objects.aexists()


async def test_it_survives_a_death_at_any_moment_and_is_submitted_once(user, priced, fake, monkeypatch):
    plain = upstream.ProviderBatches

    async def ask_and_die(number, at):
        deaths = Deaths(at)
        async with open_runtime(writer=DyingWriter(Deaths())) as runtime:
            started = await later.ask_later(runtime.runner, user, asking(user, client_id=f"c{number}"))
        monkeypatch.setattr(upstream, "ProviderBatches", dying_provider(deaths))
        with contextlib.suppress(Killed):
            async with open_runtime(writer=DyingWriter(deaths)) as runtime:
                await advance(runtime, looks=5)
        monkeypatch.setattr(upstream, "ProviderBatches", plain)
        async with open_runtime() as runtime:
            await advance(runtime, looks=5)
        return started.generation_id, deaths

    _pk, counted = await ask_and_die(0, 0)
    assert counted.count > 10
    for at in sorted({*counted.of_provider, 1, counted.count // 2, counted.count}):
        pk, _deaths = await ask_and_die(at, at)
        ended = await get(pk)
        assert (ended.status, ended.message.text) == ("completed", fake.text_for("Why?")), at
        batch = await Batch.objects.aget(lines__generation=pk)
        assert (batch.status, batch.completed) == ("completed", 1), at
        assert await Attempt.objects.filter(generation=pk).acount() == 1, at


@pytest.mark.parametrize(
    ("text", "status"),
    [("[[batch_line=failed]]", "failed"), ("[[batch_line=missing]]", "failed"), ("[[status=400]]", "failed")],
)
async def test_a_question_without_an_answer_fails_with_its_reason(user, priced, text, status):
    async with open_runtime() as runtime:
        notices = noted(runtime, user)
        started = await later.ask_later(runtime.runner, user, asking(user, text))
        await advance(runtime, looks=5)
        ended = await get(started.generation_id)
    assert ended.status == status
    assert ended.error_message
    assert not ended.is_at_provider
    assert notices[-1].what == "finished"


@pytest.mark.parametrize("looks", [0, 1])
async def test_a_cancelled_answer_ends_at_once_and_what_the_provider_bills_is_counted(
    user, priced, fake, looks
):
    budget = await Budget.objects.acreate(amount=100_000, unit="tokens")
    async with open_runtime() as runtime:
        started = await later.ask_later(runtime.runner, user, asking(user))
        await advance(runtime, looks=looks)
        if looks:  # the provider is faster than the cancellation
            batch = await Batch.objects.aget()
            fake.script("status=409", times=1, path=f"/v1/batches/{batch.provider_batch}/cancel")
        await sync_to_async(Generation.request_stop)(user, started.generation_id)
        await BatchProgress().advance(runtime.runner)
        ended = await get(started.generation_id)
        assert (ended.status, ended.message.text) == ("stopped", "")
        batch = await Batch.objects.aget()
        assert batch.status != "in_progress"
        await advance(runtime, looks=5)
        ended = await get(started.generation_id)
        await batch.arefresh_from_db()
    assert (ended.status, ended.message.text, batch.is_ended) == ("stopped", "", True)
    used = await BudgetUse.objects.filter(budget=budget).afirst()
    counted = (ended.input_tokens or 0) + (ended.output_tokens or 0)
    assert (used.used if used else 0) == counted
    assert bool(counted) == bool(looks)


async def test_it_is_refused_where_it_cannot_be_and_nothing_is_stored(user, priced):
    async with open_runtime() as runtime:

        async def refused():
            with pytest.raises(RequestRefused) as caught:
                await later.ask_later(runtime.runner, user, asking(user))
            assert not await Conversation.objects.aexists()
            return caught.value.code

        await Budget.objects.acreate(amount=10, unit="tokens")
        assert await refused() == "budget_exceeded"
        await Budget.objects.all().adelete()
        await Endpoint.objects.aupdate(has_batch_api=False)
        assert await refused() == "no_batch_api"


async def test_a_waiting_answer_takes_no_place_of_others_and_cannot_be_followed(
    user, priced, settings, monkeypatch
):
    settings.RUNNING_PER_USER = 1
    monkeypatch.setattr(later, "WAITING_MAX", 2)
    async with open_runtime() as runtime:
        first = await later.ask_later(runtime.runner, user, asking(user))
        await later.ask_later(runtime.runner, user, asking(user, client_id="c2"))
        with pytest.raises(RequestRefused) as caught:
            await later.ask_later(runtime.runner, user, asking(user, client_id="c3"))
        assert caught.value.code == "too_many_waiting"
        follow = asking(user, client_id="c4", conversation_id=first.conversation_id)
        with pytest.raises(RequestRefused) as caught:
            await sync_to_async(follow)()
        assert caught.value.code == "busy"
        assert "comes later" in caught.value.message


async def test_the_pages_say_what_it_waits_for_and_offer_to_cancel_it(user, priced):
    client = Client()
    await sync_to_async(client.force_login)(user)
    get_page = sync_to_async(lambda url: client.get(url).content.decode())
    async with open_runtime() as runtime:
        started = await later.ask_later(runtime.runner, user, asking(user))
        address = reverse("conversation", args=[started.conversation_id])
        page = await get_page(address)
        assert "is being sent to its provider" in page
        assert "40 % of the price" in page
        assert f'data-action="cancel" data-generation="{started.generation_id}"' in page
        assert f'data-generation="{started.generation_id}" data-seq' not in page  # nothing to follow
        assert "dot running" not in page.split('id="running-dot"')[0]
        article = await get_page(reverse("message", args=[started.message_id]))
        await advance(runtime)
        changed = await get_page(reverse("message", args=[started.message_id]))
        assert "has had the question since" in changed
        fingerprint = re.compile('data-fingerprint="([^"]+)"')
        assert fingerprint.search(article)[1] != fingerprint.search(changed)[1]
        await advance(runtime, looks=5)
        assert "batch price" in await get_page(address)
    assert "Question of a chat" not in await get_page(reverse("batches"))
