"""Single rows by SQL that is put together once: the same rows as the ORM's."""

import uuid
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.forms.models import model_to_dict
from django.utils import timezone

from chat.models import rows
from chat.models.attempt import Attempt
from chat.models.catalog import Endpoint, Model
from chat.models.conversation import Conversation
from chat.models.generation import Generation
from chat.models.message import Message

pytestmark = pytest.mark.django_db

ODD = "é\u202e'\"%s %% \\ 🙂"


@pytest.fixture
def made(user):
    """What a question stores: conversation, message and generation, without an attempt."""
    conversation = rows.insert(Conversation(user_id=user.pk, title=ODD, temperature=0.5))
    message = rows.insert(Message(conversation=conversation, role="assistant", text=ODD))
    generation = rows.insert(
        Generation(
            message=message,
            user_id=user.pk,
            client_id="c",
            model_name=ODD,
            request={"model": ODD, "n": [1, None]},
        )
    )
    return conversation, message, generation


def by_orm(row):
    """Return a copy of a row that the ORM stores, read back."""
    twin = type(row)(**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields})
    twin.pk = uuid.uuid4() if isinstance(row.pk, uuid.UUID) else None
    if isinstance(twin, Generation):
        twin.client_id, twin.finished_at = "twin", timezone.now()
        type(row).objects.filter(pk=row.pk).update(finished_at=twin.finished_at)
    if isinstance(twin, Attempt):
        twin.number += 1
    twin.save()
    return type(row).objects.get(pk=twin.pk)


def values_of(row):
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.attname not in ("id", "client_id", "number")
    }


def test_inserted_rows_are_those_of_the_orm(made):
    attempt = rows.insert(Attempt(generation=made[2], number=1, model_name=ODD))
    for row in (*made, attempt):
        twin = by_orm(row)
        assert values_of(type(row).objects.get(pk=row.pk)) == values_of(twin)


def test_an_inserted_row_has_what_only_the_database_knows(made):
    attempt = rows.insert(Attempt(generation=made[2], number=1, model_name="m"))
    assert (attempt.recovery, attempt.left_out, attempt.queued_s) == ("", "", 0)
    attempt.error_code = "x"
    attempt.save()
    assert model_to_dict(Attempt.objects.get(pk=attempt.pk)) == model_to_dict(attempt)


def test_a_row_that_exists_already_is_refused(made, user):
    with pytest.raises(IntegrityError):
        rows.insert(Generation(message=made[1], user_id=user.pk, client_id="c"))


def test_values_of_every_kind_are_written(made):
    conversation, message, generation = made
    now = timezone.now()
    assert rows.update(Conversation, conversation.pk, {"leaf_id": message.pk, "updated_at": now})
    conversation.refresh_from_db()
    assert (conversation.leaf_id, conversation.updated_at) == (message.pk, now)
    values = {
        "cost_usd": Decimal("1.234567"),
        "finished_at": now,
        "output_tokens": None,
        "is_usage_estimated": True,
    }
    assert rows.update(Generation, generation.pk, values)
    generation.refresh_from_db()
    assert {name: getattr(generation, name) for name in values} == values
    calls = [{"id": ODD, "name": "f", "arguments": "{}"}]
    assert rows.update(Message, message.pk, {"tool_calls": calls, "html": ODD})
    message.refresh_from_db()
    assert (message.tool_calls, message.html) == (calls, ODD)


def test_a_row_is_found_by_values_of_every_kind(made, user):
    conversation, message, generation = made
    assert rows.find(Conversation, user_id=user.pk, title=ODD) == conversation.pk
    assert rows.find(Message, conversation_id=conversation.pk, role="assistant") == message.pk
    assert rows.find(Generation, user_id=user.pk, client_id=generation.client_id) == generation.pk
    assert rows.find(Generation, user_id=user.pk, client_id="another") is None


def test_a_row_that_is_read_is_that_of_the_orm(made):
    endpoint = Endpoint.objects.create(name=ODD, base_url="http://127.0.0.1:9/v1", slots=3)
    model = Model.objects.create(
        endpoint=endpoint, name="m", input_usd_per_million=Decimal("1.25"), refused_parameters={ODD: ODD}
    )
    for row in (*made, endpoint, model):
        by_key = rows.get(type(row), id=row.pk)
        orm = type(row).objects.get(pk=row.pk)
        assert by_key == orm
        assert values_of(by_key) == values_of(orm)
        by_key.save()  # as a row that exists
        assert type(row).objects.filter(pk=row.pk).count() == 1


def test_a_row_is_read_by_values_of_every_kind(made, user):
    conversation, message, generation = made
    assert rows.get(Conversation, id=str(conversation.pk), user_id=user.pk, deleted_at=None) == conversation
    assert rows.get(Generation, message_id=message.pk, finished_at=None) == generation
    rows.update(Generation, generation.pk, {"finished_at": timezone.now()})
    assert rows.get(Generation, message_id=message.pk, finished_at=None) is None
    assert rows.get(Message, id=2**63) is None
    with pytest.raises(ValidationError):
        rows.get(Conversation, id="no UUID")


def test_rows_are_selected_in_order(made):
    conversation, first, _generation = made
    second = rows.insert(Message(conversation=conversation, parent=first, role="user", text="second"))
    condition = "parent_id IS NULL OR id > %s ORDER BY id DESC LIMIT %s"
    assert rows.select(Message, condition, [0, 2]) == [second, first]
    assert rows.select(Message, condition, [0, 1]) == [second]


def test_a_row_is_updated_only_while_its_guards_hold(made):
    generation = made[2]
    own = {"finished_at": None, "owner": "", "epoch": 0}
    now = timezone.now()
    assert not rows.update(Generation, generation.pk, {"calls": 1}, guards=own | {"owner": "other"})
    assert not rows.update(Generation, generation.pk + 1, {"calls": 1}, guards=own)
    assert rows.update(Generation, generation.pk, {"finished_at": now}, guards=own)
    assert not rows.update(Generation, generation.pk, {"calls": 1}, guards=own)


def test_one_statement_each(made, django_assert_num_queries):
    with django_assert_num_queries(2):
        rows.insert(Attempt(generation=made[2], number=1, model_name="m"))
        rows.update(Message, made[1].pk, {"text": "x"})
    assert connection.in_atomic_block


def test_pairs_of_rows_are_those_of_the_orm(made, user):
    conversation, message, _generation = made
    condition = "chat_conversation.id = conversation_id AND chat_message.id = %s"
    found, its = rows.first_of_both(Message, Conversation, condition, [message.pk])
    assert values_of(found) == values_of(Message.objects.get(pk=message.pk))
    assert values_of(its) == values_of(Conversation.objects.get(pk=conversation.pk))
    assert rows.first_of_both(Message, Conversation, condition, [message.pk + 1]) is None
