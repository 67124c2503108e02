"""Retention: policies erase what is due and nothing that is held, and what is erased is gone."""

import sqlite3
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from chat.event_log.writer import InlineWriter
from chat.models import (
    Attempt,
    Conversation,
    ConversationSummary,
    Erasure,
    Feedback,
    Generation,
    LegalHold,
    Mark,
    Message,
    RetentionPolicy,
    RetentionReport,
)
from chat.review.retention import apply_policies, dry_run
from chat.runtime import cleanup
from chat.search import find, index
from tests.review.conftest import converse, staff_with

pytestmark = pytest.mark.django_db
SECRET = "Zanzibarquokka"


@pytest.fixture(autouse=True)
def no_policies(db):
    """Begin without the policy that comes with the program."""
    RetentionPolicy.objects.all().delete()


def old(conversation, days=100):
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now() - timedelta(days=days))
    return conversation


async def clean_up():
    await cleanup.Cleanup().run(InlineWriter())


def ids(rows):
    return set(rows.values_list("pk", flat=True))


async def test_a_policy_erases_whole_conversations_and_reports_it(user, model):
    def prepare():
        RetentionPolicy.objects.create(days=30)
        return old(converse(user, model, "a", "b")), converse(user, model)

    due, new = await sync_to_async(prepare)()
    await clean_up()

    def check():
        assert ids(Conversation.objects) == {new.pk}
        report = RetentionReport.objects.get()
        assert (report.conversations, report.messages_count, report.action) == (1, 2, "erase")

    await sync_to_async(check)()
    assert due.pk != new.pk


def test_a_dry_run_counts_and_changes_nothing(user, model, client_of):
    policy = RetentionPolicy.objects.create(days=30)
    old(converse(user, model))
    assert [(each.policy, each.conversations, each.messages) for each in dry_run()] == [(policy, 1, 2)]
    desk = client_of(staff_with("keeper", "view_retentionpolicy"))
    assert (
        "everybody else: 30 days" in desk.get(reverse("admin:chat_retentionpolicy_dry_run")).content.decode()
    )
    assert Message.objects.count() == 2


def test_programs_have_policies_of_their_own(user, model):
    chat, program = old(converse(user, model)), old(converse(user, model, is_hidden=True))
    of_programs = RetentionPolicy.objects.create(kind="programs", days=30)
    assert ids(of_programs.due()) == {program.pk}
    of_chat = RetentionPolicy.objects.create(kind="chat", days=30)
    assert ids(of_chat.due()) == {chat.pk}


def test_each_user_is_kept_by_the_longest_policy_of_their_groups(user, other_user, model):
    short, long = Group.objects.create(name="short"), Group.objects.create(name="long")
    user.groups.add(short, long)
    mine, theirs = old(converse(user, model)), old(converse(other_user, model))
    of_short = RetentionPolicy.objects.create(group=short, days=10)
    of_long = RetentionPolicy.objects.create(group=long, days=365)
    of_others = RetentionPolicy.objects.create(days=20)
    assert (ids(of_short.due()), ids(of_long.due()), ids(of_others.due())) == (set(), set(), {theirs.pk})
    of_long.days = 50
    of_long.save()
    assert ids(of_long.due()) == {mine.pk}


def test_what_is_being_answered_is_not_due(user, model):
    conversation = old(converse(user, model))
    Generation.objects.update(status="running", finished_at=None)
    assert not RetentionPolicy.objects.create(days=1).due().exists()
    Generation.objects.update(status="completed", finished_at=timezone.now())
    assert ids(RetentionPolicy.objects.get().due()) == {conversation.pk}


@pytest.mark.parametrize("on_user", [True, False])
async def test_a_hold_keeps_a_conversation_from_policies_users_and_staff(user, model, on_user):
    def prepare():
        RetentionPolicy.objects.create(days=30)
        kept = old(converse(user, model))
        hold = LegalHold(reason="court", author_name="x")
        hold.user, hold.conversation = (user, None) if on_user else (None, kept)
        hold.save()
        deleted = timezone.now() - timedelta(days=9)
        Conversation.objects.filter(pk=kept.pk).update(deleted_at=deleted)
        Erasure.objects.request_conversations([kept.pk])
        Erasure.objects.request_users([user.pk])
        return kept

    kept = await sync_to_async(prepare)()
    await clean_up()
    assert await Message.objects.filter(conversation=kept).acount() == 2
    assert await type(user).objects.filter(pk=user.pk).aexists()
    await LegalHold.objects.aupdate(released_at=timezone.now())
    await clean_up()
    assert not await Message.objects.aexists()
    assert not await type(user).objects.filter(pk=user.pk).aexists()


def everywhere(user, model):
    """Return a conversation with SECRET in each of its texts."""
    conversation = old(converse(user, model, SECRET, SECRET, title=SECRET, system_prompt=SECRET))
    generation = conversation.leaf.generations.get()
    Generation.objects.filter(pk=generation.pk).update(
        prefix=SECRET, error_message=SECRET, request={"messages": [{"role": "user", "content": SECRET}]}
    )
    Attempt.objects.update(abandoned_text=SECRET, error_detail=SECRET)
    Message.objects.update(thinking=SECRET, html=SECRET)
    Feedback.objects.create(message=conversation.leaf, user=user, value=-1, comment=SECRET)
    Mark.objects.create(kind="note", conversation=conversation, author=user, author_name="x", text=SECRET)
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Conversation),
        object_id=str(conversation.pk),
        object_repr=SECRET,
        action_flag=CHANGE,
        change_message=SECRET,
    )
    return conversation


def test_erasing_the_text_keeps_the_rows_and_no_text(user, model):
    conversation = everywhere(user, model)
    RetentionPolicy.objects.create(days=30, action="text")
    before = {table: table.objects.count() for table in (Message, Generation, Attempt, Feedback, Mark)}
    assert apply_policies(100)
    assert {table: table.objects.count() for table in before} == before
    assert ConversationSummary.objects.get().text_erased_at
    assert Feedback.objects.get().value == -1
    for table in (Conversation, *before, LogEntry):
        assert SECRET not in str(list(table.objects.values()))
    assert not find(SECRET).message_of
    assert not apply_policies(100)
    assert Conversation.objects.get().pk == conversation.pk


@pytest.mark.parametrize("action", ["erase", "text"])
async def test_nothing_of_an_erased_conversation_is_in_the_database(user, model, action, tmp_path):
    """In the bytes of the file after VACUUM, its index, logs and journal too; on PostgreSQL, in all rows."""

    def prepare():
        everywhere(user, model)
        converse(user, model, "kept words", "kept answer")
        RetentionPolicy.objects.create(days=30, action=action)

    def stored(name):
        connection.ensure_connection()
        read = vacuumed if connection.vendor == "sqlite" else dumped
        return read(tmp_path / name).lower()

    await sync_to_async(prepare)()
    secret = SECRET.lower().encode()
    assert secret in await sync_to_async(stored)("before")
    await clean_up()
    found = await sync_to_async(stored)("after")
    assert b"kept words" in found
    # The index holds the beginnings of words apart from their ends.
    for part in (secret, secret[4:], secret[:-3]):
        assert part not in found


def vacuumed(folder):
    """Write the pages of the test's database to a file, run VACUUM, and return the bytes in its folder."""
    folder.mkdir()
    # What the transaction of the test has written is in these pages, too.
    (folder / "db.sqlite3").write_bytes(connection.connection.serialize())
    copy = sqlite3.connect(folder / "db.sqlite3")
    copy.execute("PRAGMA journal_mode=WAL")
    copy.execute("VACUUM")
    files = b"".join(path.read_bytes() for path in folder.iterdir())
    copy.close()
    return files


def dumped(_folder):
    """Return every row of every table as text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()")
        rows = []
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT row::text FROM {table} AS row")
            rows += [row for (row,) in cursor.fetchall()]
    return "\n".join(rows).encode()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL does this by itself")
def test_a_merge_ends_and_begins_once_a_day(user, model):
    converse(user, model, "first", "second").delete()
    rounds = 0
    while index.merge_some(50):
        rounds += 1
        assert rounds < 100
    assert rounds
    converse(user, model, "third", "fourth").delete()
    assert not index.merge_some(50)
    assert index.merge_some(50, every_s=0)


def test_holds_are_added_and_released_but_never_deleted(client_of, user):
    keeper = staff_with("keeper", "add_legalhold", "view_legalhold", "change_legalhold", "delete_legalhold")
    keeper.user_permissions.add(Permission.objects.get(codename="view_user"))
    desk = client_of(keeper)
    added = desk.post(reverse("admin:chat_legalhold_add"), {"user": user.pk, "reason": "court"})
    assert added.status_code == 302
    hold = LegalHold.objects.get()
    assert (hold.user, hold.author_name) == (user, "keeper")
    neither = desk.post(reverse("admin:chat_legalhold_add"), {"reason": "court"})
    assert "Choose a user or a conversation" in neither.content.decode()
    assert (
        desk.post(reverse("admin:chat_legalhold_delete", args=[hold.pk]), {"post": "yes"}).status_code == 403
    )
    desk.post(
        reverse("admin:chat_legalhold_changelist"), {"action": "release", "_selected_action": [hold.pk]}
    )
    hold.refresh_from_db()
    assert (hold.released_by_name, hold.released_at is not None) == ("keeper", True)
