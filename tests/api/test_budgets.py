"""Budgets for programs: an error that official clients do not retry, before any call is made."""

import httpx2
import openai
import pytest

SET = """
from chat.models import ApiKey, Budget
Budget.objects.create(scope="user", user=ApiKey.objects.get().user, unit="tokens", amount=150, period="day")
"""
USED = """
from chat.models import BudgetReservation, BudgetUse
use = BudgetUse.objects.get()
print(use.used, use.reserved, BudgetReservation.objects.count())
"""


def test_every_interface_shares_a_budget_and_clients_do_not_retry(api):
    api = api()
    api.server.query(SET)
    api.server.until_ticked()
    sent = []
    client = api.client(max_retries=2, http_client=httpx2.Client(event_hooks={"request": [sent.append]}))
    ask = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    answer = client.chat.completions.create(**ask, max_tokens=100)
    embedded = client.embeddings.create(model="fake", input=[1, 2, 3], encoding_format="float")
    used = answer.usage.total_tokens + embedded.usage.prompt_tokens
    assert api.server.query(USED).split() == [str(used), "0", "0"]

    calls = len(api.requests())
    refused = [
        lambda: client.chat.completions.create(**ask, max_tokens=100),
        lambda: client.chat.completions.create(**ask, max_tokens=100, stream=True),
        lambda: client.responses.create(model="fake", input="hello", max_output_tokens=100),
        lambda: client.embeddings.create(model="fake", input=[1] * 150),
    ]
    for call in refused:
        del sent[:]
        with pytest.raises(openai.RateLimitError) as error:
            call()
        assert len(sent) == 1
        assert (error.value.code, error.value.type) == ("insufficient_quota", "insufficient_quota")
        assert error.value.response.headers["x-should-retry"] == "false"
        assert f"{used} of 150 tokens are used" in error.value.message
        assert "It renews on " in error.value.message
    assert len(api.requests()) == calls
    assert client.chat.completions.create(**ask, max_tokens=5).usage.completion_tokens <= 5
