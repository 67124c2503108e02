"""One group of the writer: which statements it takes, and whose rows it stores."""

import asyncio
from concurrent.futures import Future

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection

from chat import events
from chat.event_log.commit import WriteItem, commit
from chat.event_log.lease import LeaseLost
from chat.event_log.read import replay
from chat.event_log.writer import ThreadWriter
from chat.models import Generation
from tests.support.runtime import lease_on, running_generation

pytestmark = pytest.mark.django_db(transaction=True)


def commit_deltas(log, *texts, commit=commit):
    """Commit one delta for each pair of a generation and its text; return the failures of the leases."""
    failures = []

    async def committed():
        items = [
            WriteItem(lease=lease_on(log, generation, failures), event=events.Delta(text))
            for generation, text in texts
        ]
        await sync_to_async(commit)(items)
        await asyncio.sleep(0)  # a lease reports its failure to the event loop

    asyncio.run(committed())
    return failures


def test_deltas_alone_take_one_statement(log, user, model):
    one, other = (running_generation(user, model) for _ in range(2))
    statements = []

    def note(execute, sql, *more):
        statements.append(sql)
        return execute(sql, *more)

    def commit_noted(items):
        with connection.execute_wrapper(note):
            commit(items)

    assert commit_deltas(log, (one, "a"), (other, "b"), commit=commit_noted) == []
    assert len(statements) == 1
    assert (replay(one.pk).text, replay(other.pk).text) == ("a", "b")


def test_the_end_after_an_outage_says_that_it_is_not_stored_not_that_the_lease_is_lost(log, user, model):
    """Otherwise the answer would run for ever: no other process takes it over."""
    generation = running_generation(user, model)

    async def end():
        lease = lease_on(log, generation, [])
        lease.fail(OperationalError("no disk"))
        item = WriteItem(lease=lease, operation=lambda: None, result=Future())
        await sync_to_async(commit)([item])
        return item.result.result(timeout=0)

    with pytest.raises(OperationalError, match="no disk"):
        asyncio.run(end())


@pytest.mark.parametrize(
    "change", [{"owner": "heir"}, {"epoch": 2}, {"status": "stopped"}], ids=["owner", "epoch", "status"]
)
def test_a_lease_that_is_not_valid_writes_nothing_beside_one_that_is(log, user, model, change):
    lost, own = (running_generation(user, model) for _ in range(2))
    Generation.objects.filter(pk=lost.pk).update(**change)

    failures = commit_deltas(log, (lost, "NEVER"), (own, "kept"))

    assert (replay(lost.pk).text, replay(own.pk).text) == ("", "kept")
    assert [type(failure) for failure in failures] == [LeaseLost]


def test_of_two_leases_of_one_answer_only_the_valid_one_writes(log, user, model):
    before = running_generation(user, model)
    Generation.objects.filter(pk=before.pk).update(epoch=2)
    after = Generation.objects.get(pk=before.pk)

    failures = commit_deltas(log, (before, "NEVER"), (after, "kept"))

    assert replay(before.pk).text == "kept"
    assert [type(failure) for failure in failures] == [LeaseLost]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a setting of SQLite")
def test_savepoints_of_the_writer_need_no_file():
    writer = ThreadWriter()

    def setting():
        with connection.cursor() as cursor:
            return cursor.execute("PRAGMA temp_store").fetchone()

    try:
        assert writer.run(setting) == (2,)
    finally:
        writer.close()
