"""A budget while two servers reserve and settle at the same time: what fits is admitted, and no more.

Each server is a writer: a thread with a database connection of its own.
"""

from collections import Counter
from functools import partial
from uuid import uuid4

import pytest

from chat.errors import RequestRefused
from chat.event_log.writer import ThreadWriter
from chat.generation.claim import claim_as_stored
from chat.models import ApiKey, Budget, BudgetReservation, BudgetUse, Conversation
from chat.models.api_request import ApiRequest
from chat.models.budget import presence

pytestmark = pytest.mark.django_db(transaction=True)

REQUEST = ApiRequest([{"role": "user", "content": "hello"}], {"max_tokens": 90})
SENDS, ROOM_FOR = 60, 5
# The prompt takes one token and four for its message, and the margin.
RESERVED = 96


@pytest.fixture
def servers(settings):
    settings.RUNNING_PER_KEY = settings.API_RUNNING_PER_USER = settings.ASKS_PER_MINUTE_PER_KEY = 10_000
    settings.API_WAITING_PER_KEY = 10_000
    writers = [ThreadWriter(), ThreadWriter()]
    yield writers
    for writer in writers:
        writer.close()
    presence.note(any_exist=False)


def send(key, model):
    """Store a request and claim it, as a server does in one transaction. Return its hold."""
    started = Conversation.ask_once(
        key.user, REQUEST, model=model, client_id=uuid4().hex, source="api", api_key=key
    )
    claimed = claim_as_stored(started, "me")
    assert claimed is not None
    return claimed.hold


def at_once(servers, operations):
    """Run operations of (user id, function) on the servers in turn; return results and refusals by code."""
    futures = [
        servers[number % 2].submit(operation, user_id=user_id)
        for number, (user_id, operation) in enumerate(operations)
    ]
    done, refused = [], Counter()
    for future in futures:
        try:
            done.append(future.result(timeout=30))
        except RequestRefused as refusal:
            refused[refusal.code] += 1
    return done, refused


def test_of_many_sends_exactly_those_that_fit_are_admitted(user, other_user, model, servers):
    keys = [ApiKey.make(each, "key")[0] for each in (user, other_user)]
    shared = Budget.objects.create(scope="everyone", unit="tokens", amount=RESERVED * ROOM_FOR)
    sends = [(key.user_id, partial(send, key, model)) for key in keys for _ in range(SENDS // 2)]
    holds, refused = at_once(servers, sends)
    assert (len(holds), refused) == (2 * ROOM_FOR, {"budget_exceeded": SENDS - 2 * ROOM_FOR})
    assert set(shared.uses.values_list("used", "reserved")) == {(0, RESERVED * ROOM_FOR)}
    # Calls that end while others begin: nothing is counted twice and nothing stays reserved.
    ends = [(None, partial(hold.settle, None)) for hold in holds]
    more, _refused = at_once(servers, [each for pair in zip(ends, sends, strict=False) for each in pair])
    at_once(servers, [(None, partial(hold.settle, None)) for hold in more if hold is not None])
    assert set(shared.uses.values_list("used", "reserved")) == {(0, 0)}
    assert not BudgetReservation.objects.exists()


def test_budgets_of_several_kinds_do_not_deadlock(user, other_user, model, servers):
    keys = [ApiKey.make(each, "key")[0] for each in (user, other_user)]
    for key in keys:
        Budget.objects.create(scope="api_key", api_key=key, unit="tokens", amount=10**6)
        Budget.objects.create(scope="user", user=key.user, unit="tokens", amount=10**6, period="day")
    Budget.objects.create(scope="everyone", unit="tokens", amount=10**6)
    sends = [
        (keys[number % 3 % 2].user_id, partial(send, keys[number % 3 % 2], model)) for number in range(60)
    ]
    holds, refused = at_once(servers, sends)
    assert not refused
    at_once(servers, [(None, partial(hold.settle, None)) for hold in holds])
    assert set(BudgetUse.objects.values_list("reserved", flat=True)) == {0}
