"""Rows that wait delay nothing: no query of a tick, a look at a batch or a page reads them all."""

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.batches import later
from chat.batches.progress import BatchProgress
from chat.models import Batch, BatchLine, Endpoint, Generation, Model
from tests.batches.support import prompts, stored
from tests.batches.test_later import asking
from tests.support.query_plans import Recorder
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db

# Enough for the planner of PostgreSQL to prefer an index where it has one.
ROWS = 2_000


@pytest.fixture
def batches(tmp_path, user, other_user, model):
    """Return a running batch of a user; another user has one as well, half of which is done."""
    found = [stored(tmp_path, each, model, prompts(ROWS)) for each in (user, other_user)]
    for batch in found:
        batch.start()
    found[1].lines.filter(number__lte=ROWS // 2).update(state=BatchLine.State.COMPLETED)
    Batch.objects.filter(pk=found[1].pk).update(completed=ROWS // 2)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Only these: of tables that are empty now, it would learn that reading all of them is free.
            cursor.execute("ANALYZE chat_batch, chat_batchline")
    return found


def read_pages(user, batch):
    client = Client()
    client.force_login(user)
    addresses = [reverse("batches"), reverse("sidebar"), reverse("batch_progress", args=[batch.pk])]
    addresses += [f"{reverse('batch', args=[batch.pk])}?state=unsuccessful"]
    for address in addresses:
        assert client.get(address, headers={"HX-Request": "true"}).status_code == 200


async def test_no_query_reads_all_rows_that_wait(user, batches):
    await Endpoint.objects.aupdate(has_batch_api=True)
    model = await Model.objects.aget()
    async with open_runtime() as runtime:
        recorder = await sync_to_async(Recorder)()
        with recorder.recording():
            for _ in range(2):
                await runtime.heartbeat.tick()
                await BatchProgress().advance(runtime.runner)
                ended = Generation.objects.filter(source="batch", finished_at=None)
                await ended.aupdate(status="completed", finished_at=timezone.now())
            started = await later.ask_later(runtime.runner, user, asking(user, model_id=model.pk))
            await sync_to_async(Generation.request_stop)(user, started.generation_id)
            await later.end_stopped(runtime.runner, await sync_to_async(later.stopped)())
            await sync_to_async(batches[0].cancel)()
            await BatchProgress().advance(runtime.runner)
            await sync_to_async(read_pages)(user, batches[0])
    assert len(recorder.queries) > 40
    assert await sync_to_async(recorder.scans)() == []
