"""Transactions of verbs: the caller's, or one of their own."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from chat.models import Conversation, Generation, Message


def test_a_verb_in_a_transaction_makes_no_savepoint(db, user, model):
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        Conversation.ask(user, "in another transaction", client_id="a")
    assert not [query["sql"] for query in captured if "SAVEPOINT" in query["sql"]]


def test_a_verb_without_a_transaction_has_one_of_its_own(transactional_db, user, model, monkeypatch):
    def fail(row, **_more):
        assert Message.objects.exists()
        raise RuntimeError

    monkeypatch.setattr(Generation, "as_started", fail)
    with pytest.raises(RuntimeError):
        Conversation.ask(user, "a", client_id="a")
    assert not Message.objects.exists()
