"""The gate of programs' requests: limits of key and user, order, and what is refused at the door."""

import asyncio

import pytest

from chat.errors import RequestRefused
from chat.generation.concurrency import ConcurrencyGate
from chat.models import ApiKey, Conversation, Endpoint, Generation, Model
from chat.models.api_request import ApiRequest
from tests.support.clock import Clock


class Requests:
    """Requests at one gate; each runs until it is released."""

    def __init__(self, gate):
        self.gate, self.running, self.positions = gate, [], {}
        self._ends, self._tasks = {}, {}

    def begin(self, name, **limits):
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name, limits))

    async def _run(self, name, limits):
        async def note(position):
            self.positions[name] = position

        async with self.gate.slot(limits, note):
            self.running.append(name)
            await self._ends[name].wait()
        self.running.remove(name)

    async def end(self, name):
        self._ends[name].set()
        await self._tasks[name]
        await settled()

    async def cancel(self, name):
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        await settled()


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_above_a_limit_wait_in_order():
    requests = Requests(ConcurrencyGate())
    for name in "abcd":
        requests.begin(name, key=2)
    await settled()
    assert (requests.running, requests.positions) == (["a", "b"], {"c": 1, "d": 2})
    await requests.end("b")
    assert requests.running == ["a", "c"]
    await requests.end("a")
    assert requests.running == ["c", "d"]


async def test_a_full_key_does_not_delay_another_key_and_both_obey_their_user():
    requests = Requests(ConcurrencyGate())
    for name in ("a1", "a2", "a3"):
        requests.begin(name, a=1, user=2)
    requests.begin("b1", b=5, user=2)
    requests.begin("b2", b=5, user=2)
    await settled()
    assert sorted(requests.running) == ["a1", "b1"]
    await requests.end("a1")
    assert sorted(requests.running) == ["a2", "b1"]
    await requests.end("b1")
    assert sorted(requests.running) == ["a2", "b2"]


async def test_a_cancelled_request_gives_its_place_back():
    requests = Requests(ConcurrencyGate())
    for name in "abc":
        requests.begin(name, key=1)
    await settled()
    await requests.cancel("b")
    assert requests.gate.waiting == 1
    await requests.cancel("a")
    assert (requests.running[-1], requests.gate.waiting) == ("c", 0)


async def test_processes_share_a_limit_and_messages_of_the_chat_have_none():
    requests = Requests(ConcurrencyGate(lambda: 4))
    for number in range(3):
        requests.begin(f"key {number}", key=8)
        requests.begin(f"chat {number}")
    await settled()
    assert len([name for name in requests.running if name.startswith("key")]) == 2
    assert len([name for name in requests.running if name.startswith("chat")]) == 3


async def test_it_knows_how_long_requests_run():
    clock = Clock()
    gate = ConcurrencyGate(clock=clock)
    assert gate.average_s("key") == 5

    async def ignore(position):
        raise AssertionError(position)

    async with gate.slot({"key": 1}, ignore) as waited_s:
        clock.skip(30)
    assert (round(waited_s), round(gate.average_s("key"))) == (0, 30)


@pytest.mark.parametrize(
    ("active", "patience_s", "retry_after_s"),
    [(3, 60, None), (9, 60, None), (13, 60, 10), (14, 600, 6), (0, 1, None)],
)
@pytest.mark.django_db
def test_a_request_is_refused_if_too_many_wait_or_if_its_answer_would_come_too_late(
    active, patience_s, retry_after_s, django_user_model, settings
):
    settings.API_WAITING_PER_KEY = 10
    user = django_user_model.objects.create_user("ada")
    key, _token = ApiKey.make(user, "tests")
    key.running_max = 4
    key.patience_s, key.answer_s = patience_s, 20.0
    with_active(key, active)
    if retry_after_s is None:
        key.check_limits()
        return
    with pytest.raises(RequestRefused) as caught:
        key.check_limits()
    assert caught.value.code == "too_many_running"
    assert caught.value.retry_after_s == pytest.approx(retry_after_s, abs=1)


def with_active(key, count):
    """Store requests of a key that are not final."""
    endpoint = Endpoint.objects.create(name="e", base_url="http://127.0.0.1:1/v1")
    model = Model.objects.create(endpoint=endpoint, name="m")
    for number in range(count):
        request = ApiRequest([{"role": "user", "content": "hi"}])
        started = Conversation.ask_once(
            key.user, request, model=model, source="api", client_id=f"request-{number}"
        )
        Generation.objects.filter(pk=started.generation_id).update(api_key=key)
