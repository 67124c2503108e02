"""A batch that its provider runs: submitted once, never forgotten, and each line ends once with a reason."""

import itertools
import json
import random
import urllib.request
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat import upstream
from chat.batches import collect
from chat.batches import provider as provider_module
from chat.event_log.writer import InlineWriter
from chat.fakeprovider.threaded import ThreadedProvider
from chat.models import Attempt, Batch, Budget, BudgetUse, Endpoint, Generation, Model
from chat.upstream.batches import result_of
from tests.batches.support import stored
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db

WORDS = ["", "[[batch_line=failed]]", "[[batch_line=expired]]", "[[batch_line=doubled]]"]
WORDS += ["[[batch_line=missing]]", "[[status=400]]", ""]
ENDS = {
    *((1, "completed", ""), (2, "failed", "server_error"), (3, "expired", "batch_expired")),
    *((4, "completed", ""), (5, "failed", "missing"), (6, "failed", "rejected"), (7, "completed", "")),
}


class Killed(BaseException):
    """Stands for the death of a process at one moment."""


class Deaths:
    """Kills at the moment `at`; moments are counted from 1, two for each step: before it and after it."""

    def __init__(self, at=0):
        self.at, self.count = at, 0
        self.of_provider = set()

    def moment(self, *, is_of_provider=False):
        self.count += 1
        if is_of_provider:
            self.of_provider.add(self.count)
        if self.count == self.at:
            raise Killed


class DyingWriter(InlineWriter):
    def __init__(self, deaths):
        super().__init__()
        self._deaths = deaths

    def submit(self, operation, *, user_id=None):
        self._deaths.moment()
        result = super().submit(operation, user_id=user_id)
        self._deaths.moment()
        return result


def dying_provider(deaths):
    class DyingProvider(upstream.ProviderBatches):
        async def upload(self, name, file):
            return await self._dying(super().upload(name, file))

        async def submit(self, file, key):
            return await self._dying(super().submit(file, key))

        async def _dying(self, call):
            try:
                deaths.moment(is_of_provider=True)
            except Killed:
                call.close()
                raise
            result = await call
            deaths.moment(is_of_provider=True)
            return result

    return DyingProvider


@pytest.fixture(scope="module")
def fake():
    with ThreadedProvider.running() as provider:
        yield provider


@pytest.fixture
def priced(fake):
    endpoint = Endpoint.objects.create(name="there", base_url=fake.base_url, has_batch_api=True)
    prices = {"input_usd_per_million": 1_000, "output_usd_per_million": 2_000}
    return Model.objects.create(endpoint=endpoint, name="fake", **prices)


def table(words):
    return "text\n" + "".join(f"{word} question {n}\n" for n, word in enumerate(words))


def started(tmp_path, user, model, words):
    batch = stored(tmp_path, user, model, table(words))
    batch.start()
    return batch


def at_provider(fake, batch):
    """Return the batches of ours that the provider has."""
    with urllib.request.urlopen(f"{fake.base_url}/batches") as response:
        found = json.load(response)["data"]
    keys = [(each["metadata"] or {}).get("chatsite_batch", "") for each in found]
    return [key for key in keys if key.startswith(batch.pk.hex)]


async def run(batch, deaths=None, *, looks=12):
    """Look at a batch until it has ended."""
    writer = DyingWriter(deaths) if deaths else InlineWriter()
    async with open_runtime(writer=writer) as runtime:
        for _ in range(looks):
            await Batch.objects.filter(pk=batch.pk, finished_at=None).aupdate(next_look_at=timezone.now())
            await provider_module.advance(runtime.runner, batch.pk)
            await batch.arefresh_from_db()
            if batch.is_ended:
                break


def ends(batch):
    return {(line.number, line.state, line.error_code) for line in batch.lines.all()}


async def a(call, *args):
    return await sync_to_async(call)(*args)


async def test_each_line_ends_once_with_its_reason_at_the_batch_price(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, WORDS)
    await run(batch)
    assert await a(ends, batch) == ENDS
    assert (batch.status, batch.completed, batch.failed) == ("completed", 3, 4)
    assert batch.runner == "provider"
    generations = [each async for each in Generation.objects.select_related("message").order_by("pk")]
    assert {(each.source, each.status, each.is_active) for each in generations} == {
        ("batch", "completed", False)
    }
    first = generations[0]
    assert first.message.text == fake.text_for("question 0")
    assert first.message.html
    cost = (Decimal(first.input_tokens) * 1_000 + Decimal(first.output_tokens) * 2_000) / 1_000_000 / 2
    assert first.cost_usd == cost
    assert batch.cost_usd == sum(each.cost_usd for each in generations)
    assert await Attempt.objects.filter(outcome="completed").acount() == 3


async def test_results_wait_for_a_batch_that_another_transaction_has(
    tmp_path, user, priced, fake, monkeypatch
):
    batch = await a(started, tmp_path, user, priced, WORDS)
    tries = itertools.count()
    lock = collect.locked
    # PostgreSQL's SKIP LOCKED finds nothing at every other time.
    monkeypatch.setattr(collect, "locked", lambda pk: lock(pk) if next(tries) % 2 else None)
    await run(batch)
    assert await a(ends, batch) == ENDS
    assert next(tries) > 4


async def test_a_batch_survives_a_death_at_any_moment(tmp_path, user, priced, fake, monkeypatch):
    batch = await a(started, tmp_path, user, priced, WORDS)
    deaths = Deaths()
    monkeypatch.setattr(upstream, "ProviderBatches", dying_provider(deaths))
    await run(batch, deaths)
    assert deaths.count > 20
    assert len(deaths.of_provider) == 4
    others = random.Random(7).sample(range(1, deaths.count + 1), 5)
    for moment in sorted({*deaths.of_provider, *others}):
        batch = await a(started, tmp_path, user, priced, WORDS)
        deaths = Deaths(moment)
        monkeypatch.setattr(upstream, "ProviderBatches", dying_provider(deaths))
        with pytest.raises(Killed):
            await run(batch, deaths)
        await run(batch)
        assert await a(ends, batch) == ENDS, moment
        assert (batch.status, batch.completed, batch.failed) == ("completed", 3, 4), moment
        assert await a(at_provider, fake, batch) == [batch.provider_key], moment
        own = Generation.objects.filter(client_id__startswith=f"batch-{batch.pk.hex}")
        assert await own.acount() == 3, moment


@pytest.mark.parametrize(
    ("word", "status", "states"),
    [
        ("[[batch_end=failed]]", "failed", {"failed"}),
        ("[[batch_end=expired]]", "expired", {"completed", "expired"}),
        ("[[batch_end=cancelled]]", "cancelled", {"completed", "cancelled"}),
    ],
)
async def test_a_batch_ends_as_its_provider_ends_it(tmp_path, user, priced, word, status, states):
    batch = await a(started, tmp_path, user, priced, ["", word])
    await run(batch)
    assert batch.status == status
    assert {line.state async for line in batch.lines.all()} == states
    if status == "failed":
        assert "failed as requested" in batch.error_message
    await a(batch.retry)
    assert (batch.provider_batch, batch.provider_key) == ("", f"{batch.pk.hex}.1")


async def test_what_failed_is_submitted_again_and_nothing_else(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, ["", "[[batch_line=failed]]"])
    await run(batch)
    await batch.lines.filter(number=2).aupdate(prompt="now it works")
    await a(batch.retry)
    await run(batch)
    assert (batch.completed, batch.failed, batch.status) == (2, 0, "completed")
    assert batch.provider_counts["total"] == 1
    assert len(await a(at_provider, fake, batch)) == 2


async def test_a_cancelled_batch_is_cancelled_at_the_provider(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, ["", ""])
    await run(batch, looks=1)
    await a(batch.cancel)
    await run(batch)
    assert batch.status == "cancelled"
    assert {line.state async for line in batch.lines.all()} == {"cancelled"}


async def test_a_batch_that_was_not_submitted_is_cancelled_here(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, [""])
    await a(batch.cancel)
    await run(batch)
    assert batch.status == "cancelled"
    assert await a(at_provider, fake, batch) == []


async def test_an_outage_is_waited_for(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, [""])
    fake.script("status=503", times=1, path="/v1/files")
    await run(batch, looks=1)
    assert (batch.status, batch.failures, batch.owner) == ("in_progress", 1, "")
    assert batch.error_message
    assert batch.next_look_at > timezone.now()
    await run(batch)
    assert (batch.status, batch.error_message) == ("completed", "")


async def test_a_rejected_batch_fails_with_the_providers_words(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, [""])
    fake.script("status=400 message=no batches here", times=1, path="/v1/files")
    await run(batch)
    assert batch.status == "failed"
    assert "no batches here" in batch.error_message
    assert {line.state async for line in batch.lines.all()} == {"failed"}


async def test_a_submitted_batch_is_not_given_up_because_of_an_error(tmp_path, user, priced, fake):
    batch = await a(started, tmp_path, user, priced, [""])
    await run(batch, looks=1)
    fake.script("status=401", times=1, path="/v1/batches")
    await run(batch, looks=1)
    assert batch.status == "in_progress"
    await run(batch)
    assert batch.status == "completed"


async def test_budgets_are_checked_before_and_charged_with_the_results(tmp_path, user, priced, fake):
    budget = await Budget.objects.acreate(amount=100, unit="tokens")
    batch = await a(started, tmp_path, user, priced, ["", ""])
    await run(batch)
    assert batch.status == "failed"
    assert await a(at_provider, fake, batch) == []
    await Budget.objects.aupdate(amount=10_000)
    await a(batch.retry)
    await run(batch)
    assert batch.status == "completed"
    used = await BudgetUse.objects.aget(budget=budget)
    assert (used.used, used.reserved) == (batch.input_tokens + batch.output_tokens, 0)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("nonsense", None),
        ("{}", None),
        ('{"custom_id": "a", "response": null, "error": null}', "failed"),
        ('{"custom_id": "a", "response": {"status_code": 200, "body": {"choices": []}}}', "no_text"),
        ('{"custom_id": "a", "response": {"status_code": 200, "body": 3}}', "malformed"),
        ('{"custom_id": "a", "response": {"status_code": "x", "body": "y"}}', "server_error"),
    ],
)
def test_odd_results_are_failures_of_their_line(line, code):
    result = result_of(line)
    assert (result is None) == (code is None)
    if result is not None:
        assert (result.error_code or result.error.code) == code
