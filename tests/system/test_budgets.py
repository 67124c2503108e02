"""Budgets of real servers: shared by two of them, and exact although one is killed."""

import http.client
import itertools
import json
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

from chat.generation.budgets import PROMPT_MARGIN
from chat.generation.usage import estimate_prompt
from tests.api.conftest import NEW_KEY
from tests.support.environment import repeats
from tests.support.programs import until
from tests.support.provider_control import release, requests_of
from tests.support.serving import secret_key_of
from tests.support.socket_client import ask, follow, read, whole

QUESTION = "hello [[hold=all after=3]][[deltas=6]]"
MESSAGES = [{"role": "user", "content": QUESTION}]
SENDS, ROOM_FOR = repeats(200), 10
ANSWER_TOKENS = 90
RESERVED = round(estimate_prompt([QUESTION]) * PROMPT_MARGIN) + ANSWER_TOKENS
PREPARE = f"""
from chat.models import Budget, Endpoint
Endpoint.objects.update(slots=1000)
Budget.objects.create(scope="everyone", unit="tokens", amount={RESERVED * ROOM_FOR + RESERVED // 2})
"""
USE = """
import json
from django.db.models import Sum
from chat.models import Attempt, BudgetReservation, BudgetUse, Generation
use = BudgetUse.objects.get()
sums = Attempt.objects.aggregate(a=Sum("input_tokens"), b=Sum("output_tokens"))
statuses = list(Generation.objects.order_by("pk").values_list("status", flat=True))
tokens = (sums["a"] or 0) + (sums["b"] or 0)
print(json.dumps([use.used, use.reserved, tokens, BudgetReservation.objects.count(), statuses]))
"""
PLENTY = {
    "CHATSITE_ASKS_PER_MINUTE_PER_KEY": "100000",
    "CHATSITE_RUNNING_PER_KEY": "10000",
    "CHATSITE_API_RUNNING_PER_USER": "10000",
}


def use_of(server):
    """Return what is used and reserved, the tokens of all calls, the reservations, and how answers ended."""
    return json.loads(server.query(USE))


def send(base_url, key):
    """Ask by the API; return the status and the code of the error."""
    body = {"model": "fake", "max_tokens": ANSWER_TOKENS, "messages": MESSAGES}
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(base_url).netloc, timeout=120)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    reply = connection.getresponse()
    told = json.loads(reply.read())
    connection.close()
    return reply.status, told.get("error", {}).get("code")


@pytest.mark.services
def test_of_many_sends_at_once_to_two_servers_exactly_those_that_fit_are_admitted(
    serve, provider, postgres_url
):
    env = provider.env_for_server | PLENTY | {"DATABASE_URL": postgres_url, "OPENAI_MODEL": "fake"}
    first = serve(env, is_started=False)
    first.manage("migrate", "-v", "0")
    first.start()
    first.sign_in()
    first.query(PREPARE)
    key = first.query(NEW_KEY.format(user="ada"))
    first.restart()  # both have known of the budget from their beginning
    second = serve(env | {"CHATSITE_SECRET_KEY": secret_key_of(first)})
    addresses = itertools.cycle((first.base_url, second.base_url))
    with ThreadPoolExecutor(SENDS) as threads:
        sends = [threads.submit(send, next(addresses), key) for _ in range(SENDS)]
        until(lambda: sum(each.done() for each in sends) == SENDS - ROOM_FOR, "the refusals", deadline_s=90)
        used, reserved, _tokens, held, statuses = use_of(first)
        assert (used, reserved, held) == (0, RESERVED * ROOM_FOR, ROOM_FOR)
        assert statuses == ["running"] * ROOM_FOR
        release(provider, "all")
        results = [each.result(timeout=60) for each in sends]
    assert sorted(results, key=str) == sorted(
        [(200, None)] * ROOM_FOR + [(429, "insufficient_quota")] * (SENDS - ROOM_FOR), key=str
    )
    assert len(requests_of(provider)) == ROOM_FOR
    used, reserved, tokens, held, statuses = use_of(second)
    assert (used, reserved, held, statuses) == (tokens, 0, 0, ["completed"] * ROOM_FOR)


@pytest.mark.parametrize("after", [0, 10])
def test_a_reservation_of_a_killed_server_is_settled_once_by_the_next(serve, provider, after):
    server = serve(provider.env_for_server | {"OPENAI_MODEL": "fake"})
    session = server.sign_in()
    server.query(
        "from chat.models import Budget\n"
        "Budget.objects.create(scope='everyone', unit='tokens', amount=100000)"
    )
    server.restart()  # which has known of the budget from its beginning
    with session.socket() as socket:
        accepted = ask(socket, f"[[hold=gate after={after} on=1]] [[deltas=40]]")
        until(lambda: requests_of(provider), "the call")
        for text, _last in read(socket, accepted["generation"]) if after else ():
            if len(text) >= 4 * after:
                break
        used, reserved, *_rest, held, _statuses = use_of(server)
        assert (used, reserved > 0, held) == (0, True, 1)
        server.kill9()
    server.restart()
    with session.socket() as socket:
        follow(socket, accepted["generation"])
        assert len(whole(socket, accepted["generation"])) == 160
    used, reserved, tokens, held, statuses = use_of(server)
    assert (used, reserved, held, statuses) == (tokens, 0, 0, ["completed"])
    assert tokens > 0
