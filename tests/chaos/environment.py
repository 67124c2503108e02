"""The environment of a scenario: programs, signed-in users, and the checks of what is stored and shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.chaos.client import Client
from tests.chaos.record import Question, Record, until
from tests.chaos.usage import check_usage
from tests.support.provider_control import provider_text, requests_of
from tests.support.server_settings import overridden
from tests.support.serving import SIGN_IN, Provider, Server, Session

# Model -> how its row in the database says that it continues a partial answer.
MODELS = {
    "fake:plain": "plain",
    "fake:none": "none",
    "fake-prefill-llama": "plain",
    "fake-prefill-vllm": "vllm",
    "fake-prefill-prefix": "prefix",
    # These claim to continue, and do not.
    "fake-prefill-echo": "plain",
    "fake-prefill-reject": "plain",
    "fake-prefill-ignore": "plain",
}
USERS = 8
WINDOW_BYTES = 65_536
ENVIRONMENT = {
    "OPENAI_MODEL": ",".join(MODELS),
    "CHATSITE_RUNNING_PER_USER": "10000",
    "CHATSITE_ASKS_PER_MINUTE": "100000",
    "CHATSITE_STALL_TIMEOUT_S": "1",
    "CHATSITE_DRAIN_S": "1",
} | overridden(
    ACK_WINDOW_BYTES=WINDOW_BYTES,
    RETRY_POLICY={"backoff_first_s": 0.05},
    # All faults hit the same few models; breakers have their own tests.
    BREAKER_POLICY={"failures_in_a_row": 10_000, "calls_min": 10_000},
)
SET_UP = """
import json
from chat.models import Model
for name, continuation in {models!r}.items():
    Model.objects.filter(name=name).update(continuation=continuation)
print(json.dumps(dict(Model.objects.values_list("name", "pk"))))
"""
STORED = """
SELECT g.id, g.client_id, g.status, g.calls, g.epoch, q.text, a.text FROM chat_generation g
JOIN chat_message a ON a.id = g.message_id JOIN chat_message q ON q.id = a.parent_id
"""
ACTIVE = """
SELECT g.id, coalesce(max(e.seq), 0) FROM chat_generation g
LEFT JOIN chat_delta_log e ON e.generation_id = g.id
WHERE g.status IN ('queued', 'running') GROUP BY g.id
"""


@dataclass(frozen=True)
class Stored:
    """One generation as it is in the database."""

    generation: int
    client_id: str
    status: str
    calls: int
    epoch: int
    question: str
    text: str


@dataclass
class Report:
    """The result of a scenario. `failures`: every check that failed."""

    scenario: str
    answers: Counter[str]
    continued: int
    restarted: int
    sockets_lost: int
    failures: list[str]
    figures: dict[str, str] = field(default_factory=dict)
    # What `check_usage` counted.
    usage: dict[str, str] = field(default_factory=dict)


class Environment:
    """A provider and a server with signed-in users. Call `open` first."""

    def __init__(
        self,
        provider: Provider,
        serve: Callable[..., Server],
        seed: int,
        *,
        database_url: str = "",
        redis_url: str = "",
    ) -> None:
        self.provider = provider
        self.serve = serve
        self.seed = seed
        self.database_url = database_url
        self.redis_url = redis_url
        self.env = provider.env_for_server | ENVIRONMENT
        if database_url:
            self.env |= {"DATABASE_URL": database_url}
        if redis_url:
            self.env |= {"REDIS_URL": redis_url}
        self.sessions: list[Session] = []
        self.models: dict[str, int] = {}
        self.servers: list[Server] = []
        self._asked = 0

    def open(self, **env: str) -> None:
        """Start the server and sign all users in."""
        self.env |= env
        self.server = self.serve(self.env, is_started=False)
        self.servers.append(self.server)
        if self.database_url:
            self.server.manage("migrate", "-v", "0")
        self.server.start()
        names = [f"user{number}" for number in range(USERS)]
        code = SET_UP.format(models=MODELS) + "".join(
            SIGN_IN.format(name=name, is_staff=False) for name in names
        )
        models, *keys = self.server.query(code).splitlines()
        self.models = json.loads(models)
        self.sessions = [Session(self.server.base_url, {"sessionid": key}) for key in keys]

    # -- clients ------------------------------------------------------------------------------------

    def rng(self, *purpose: object) -> random.Random:
        """Return a random generator for one purpose, independent of all others."""
        return random.Random(" ".join(map(str, (self.seed, *purpose))))

    def clients(self, record: Record, count: int = USERS, **options: Any) -> list[Client]:
        """Return a client for each of the first `count` users."""
        return [
            Client(session, record, self.rng("client", number, self._asked), **options)
            for number, session in enumerate(self.sessions[:count])
        ]

    async def question(
        self, client: Client, directives: str, *, model: str = "fake:plain", varies: bool = False
    ) -> Question:
        """Return a new question, with the answer that it must get."""
        self._asked += 1
        text = f"question {self._asked} {directives}"
        expected = None if varies else await asyncio.to_thread(provider_text, self.provider, text)
        return client.new_question(text, self.models[model], expected)

    @contextlib.asynccontextmanager
    async def running(self, clients: Iterable[Client]) -> AsyncIterator[None]:
        """Run the clients during the block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.run()) for client in clients]
            yield
            for task in tasks:
                task.cancel()

    @contextlib.asynccontextmanager
    async def load(
        self, clients: list[Client], streams: int, *, deltas: tuple[int, int]
    ) -> AsyncIterator[None]:
        """Keep `streams` answers running during the block, and wait for all answers at its end."""
        is_over = asyncio.Event()
        async with self.running(clients):
            async with asyncio.TaskGroup() as group:
                for number in range(streams):
                    client = clients[number % len(clients)]
                    group.create_task(self._keep_asking(client, self.rng("asks", number), is_over, deltas))
                yield
                is_over.set()
            await self.settled(clients)

    async def _keep_asking(
        self, client: Client, rng: random.Random, is_over: asyncio.Event, deltas: tuple[int, int]
    ) -> None:
        while not is_over.is_set():
            model = rng.choice(["fake:plain", "fake:none"])
            question = await self.question(client, f"[[deltas={rng.randrange(*deltas)}]]", model=model)
            client.ask(question)
            await client.answer_to(question)

    async def settled(self, clients: Iterable[Client]) -> None:
        """Wait until all questions of these clients are answered."""
        waiting = list(clients)
        await until(
            lambda: all(client.is_settled for client in waiting),
            "everything to be answered",
            waiting[0].record,
        )

    # -- checks -------------------------------------------------------------------------------------

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Read the database directly, which also works while no server runs."""
        if self.database_url:
            with psycopg.connect(self.database_url) as connection:
                return connection.execute(query.encode()).fetchall()
        path = self.server.data_dir / "db.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            return file.execute(query).fetchall()

    def stored(self) -> dict[int, Stored]:
        rows = [Stored(*row) for row in self.fetch(STORED)]
        return {row.generation: row for row in rows}

    def active(self) -> dict[int, int]:
        """Return the last stored seq of each answer that is not final."""
        return dict(self.fetch(ACTIVE))

    def epochs_at(self, server: Server) -> dict[int, int]:
        """Return the epoch of each answer that a server runs."""
        query = (
            "SELECT g.id, g.epoch FROM chat_generation g JOIN chat_process p ON p.id = g.owner "
            f"WHERE g.status = 'running' AND p.pid = {server.pid}"
        )
        return dict(self.fetch(query))

    def check(self, scenario: str, clients: list[Client], *, may_end_early: int | None = None) -> Report:
        """Compare the stored text, the shown text and the provider's text.

        `may_end_early`: an answer with at least this many calls may be `interrupted`.
        """
        record = clients[0].record
        stored = self.stored()
        generations = Counter(row.client_id for row in stored.values())
        texts = Counter(text for (text,) in self.fetch("SELECT text FROM chat_message WHERE role = 'user'"))
        answers: dict[int, str] = {}
        for client in clients:
            for client_id, generation in client.accepted.items():
                row = stored.get(generation)
                if row is None or row.client_id != client_id or generations[client_id] != 1:
                    record.fail(f"{client_id} was accepted as {generation}, and is {row}")
            for screen in client.screens.values():
                row = stored[screen.generation]
                answers[screen.generation] = row.status
                record.failures += _differences(screen.text, screen.end, screen.question, row)
                if texts[screen.question.text] != 1:
                    record.fail(f"{screen.question} is stored {texts[screen.question.text]} times")
                is_early = row.status == "interrupted" and may_end_early is not None
                if row.status != "completed" and not (is_early and row.calls >= (may_end_early or 0)):
                    record.fail(f"{row.generation} is {row.status} after {row.calls} calls")
        for server in self.servers:
            record.failures += re.findall(r"^.* ERROR .*(?:\n(?!\d{4}-).*)*", server.log, re.M)
        usage_failures, figures = check_usage(self.fetch, requests_of(self.provider))
        record.failures += usage_failures
        if active := [row for row in stored.values() if row.status in {"queued", "running"}]:
            record.fail(f"not ended: {active}")
        return Report(
            scenario,
            Counter(answers.values()),
            record.count("continued"),
            record.count("restarted"),
            sum(client.lost for client in clients),
            record.failures,
            usage=figures,
        )

    async def check_replay(self, record: Record, clients: list[Client], *, count: int = 60) -> None:
        """Check that a new client shows the same text as the old one."""
        shown = {screen.generation: screen for client in clients for screen in client.screens.values()}
        for client in clients:
            screens = [shown[generation] for generation in sorted(set(client.accepted.values()))][-count:]
            fresh = Client(client.session, record, self.rng("fresh"))
            for screen in screens:
                fresh.show(screen)
            async with self.running([fresh]):
                await self.settled([fresh])
            for screen in screens:
                if fresh.screens[screen.generation].text != screen.text:
                    record.fail(f"a new client shows a different text of {screen.generation}")


def _differences(shown: str, end: str, question: Question, row: Stored) -> Iterable[str]:
    if shown != row.text:
        yield f"{row.generation} shows {len(shown)} characters, and has {len(row.text)}"
    if end != row.status:
        yield f"{row.generation} ended as {end} on the screen, and is {row.status}"
    if question.text != row.question:
        yield f"{row.generation} asks {row.question!r}, not {question.text!r}"
    if row.status == "completed" and question.expected not in (None, row.text):
        yield f"{row.generation} is {row.text[-40:]!r}, not {(question.expected or '')[-40:]!r}"
