"""Where storms happen: the programs, the people, what is stored, and the judgement of what was shown."""

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

from tests.chaos.person import Page, Question, Record, until
from tests.support.serving import SIGN_IN, Provider, Server, Session
from tests.system.test_never_lost import provider_text

# Model -> how its row says that it continues a partial answer.
MODELS = {
    "fake:plain": "plain",
    "fake:none": "none",
    "fake-prefill-llama": "plain",
    "fake-prefill-vllm": "vllm",
    "fake-prefill-prefix": "prefix",
    # These say that they continue, and do not.
    "fake-prefill-echo": "plain",
    "fake-prefill-reject": "plain",
    "fake-prefill-ignore": "plain",
}
PEOPLE = 8
WINDOW_BYTES = 65_536
ENVIRONMENT = {
    "OPENAI_MODEL": ",".join(MODELS),
    "CHATSITE_RUNNING_PER_USER": "10000",
    "CHATSITE_ASKS_PER_MINUTE": "100000",
    "CHATSITE_ACK_WINDOW_BYTES": str(WINDOW_BYTES),
    "CHATSITE_STALL_TIMEOUT_S": "1",
    "CHATSITE_BACKOFF_FIRST_S": "0.05",
    "CHATSITE_DRAIN_S": "1",
    # All faults hit the same few models here; breakers have tests of their own.
    "CHATSITE_BREAKER_FAILURES_IN_A_ROW": "10000",
    "CHATSITE_BREAKER_CALLS_MIN": "10000",
}
SET_UP = """
import json
from chat.models import Model
for name, word in {models!r}.items():
    Model.objects.filter(name=name).update(continuation=word)
print(json.dumps(dict(Model.objects.values_list("name", "pk"))))
"""
STORED = """
SELECT g.id, g.client_id, g.status, g.calls, g.epoch, q.text, a.text FROM chat_generation g
JOIN chat_message a ON a.id = g.message_id JOIN chat_message q ON q.id = a.parent_id
"""
UNDER_WAY = """
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
    """How a storm went. `complaints`: whatever was not as it must be."""

    storm: str
    answers: Counter[str]
    continued: int
    restarted: int
    sockets_lost: int
    complaints: list[str]
    figures: dict[str, str] = field(default_factory=dict)


class Stage:
    """A provider and a server with some signed-in people. Call `open` first."""

    def __init__(
        self, provider: Provider, serve: Callable[..., Server], seed: int, *, database_url: str = ""
    ) -> None:
        self.provider = provider
        self.serve = serve
        self.seed = seed
        self.database_url = database_url
        self.env = provider.env_for_server | ENVIRONMENT
        if database_url:
            self.env |= {"DATABASE_URL": database_url}
        self.sessions: list[Session] = []
        self.models: dict[str, int] = {}
        self.servers: list[Server] = []
        self._asked = 0

    def open(self, **env: str) -> None:
        """Start the server and sign everybody in."""
        self.env |= env
        self.server = self.serve(self.env, is_started=False)
        self.servers.append(self.server)
        if self.database_url:
            self.server.manage("migrate", "-v", "0")
        self.server.start()
        names = [f"person{number}" for number in range(PEOPLE)]
        code = SET_UP.format(models=MODELS) + "".join(
            SIGN_IN.format(name=name, is_staff=False) for name in names
        )
        models, *keys = self.server.shell(code).splitlines()
        self.models = json.loads(models)
        self.sessions = [Session(self.server.base_url, {"sessionid": key}) for key in keys]

    # -- people -------------------------------------------------------------------------------------

    def dice(self, *what: object) -> random.Random:
        """Return dice of their own for one thing, so that others do not change what they throw."""
        return random.Random(" ".join(map(str, (self.seed, *what))))

    def pages(self, record: Record, count: int = PEOPLE, **options: Any) -> list[Page]:
        """Return a page for each of the first `count` people."""
        return [
            Page(session, record, self.dice("page", number, self._asked), **options)
            for number, session in enumerate(self.sessions[:count])
        ]

    async def question(
        self, page: Page, directives: str, *, model: str = "fake:plain", varies: bool = False
    ) -> Question:
        """Return a question that was never asked before, with the answer it must get."""
        self._asked += 1
        text = f"question {self._asked} {directives}"
        expected = None if varies else await asyncio.to_thread(provider_text, self.provider, text)
        return page.new_question(text, self.models[model], expected)

    @contextlib.asynccontextmanager
    async def living(self, pages: Iterable[Page]) -> AsyncIterator[None]:
        """Let pages live during the block."""
        async with asyncio.TaskGroup() as group:
            lives = [group.create_task(page.live()) for page in pages]
            yield
            for life in lives:
                life.cancel()

    @contextlib.asynccontextmanager
    async def load(self, pages: list[Page], streams: int, *, deltas: tuple[int, int]) -> AsyncIterator[None]:
        """Keep `streams` answers under way during the block; at its end all that was asked is answered."""
        is_over = asyncio.Event()
        async with self.living(pages):
            async with asyncio.TaskGroup() as group:
                for number in range(streams):
                    page = pages[number % len(pages)]
                    group.create_task(self._keep_asking(page, self.dice("asks", number), is_over, deltas))
                yield
                is_over.set()
            await self.settled(pages)

    async def _keep_asking(
        self, page: Page, dice: random.Random, is_over: asyncio.Event, deltas: tuple[int, int]
    ) -> None:
        while not is_over.is_set():
            model = dice.choice(["fake:plain", "fake:none"])
            question = await self.question(page, f"[[deltas={dice.randrange(*deltas)}]]", model=model)
            page.ask(question)
            await page.answer_to(question)

    async def settled(self, pages: Iterable[Page]) -> None:
        """Wait until nobody waits for anything."""
        waiting = list(pages)
        await until(
            lambda: all(page.is_settled for page in waiting), "everything to be answered", waiting[0].record
        )

    # -- judgement ----------------------------------------------------------------------------------

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Read the database itself, also while no server runs. Changes nothing in it."""
        if self.database_url:
            with psycopg.connect(self.database_url) as connection:
                return connection.execute(query.encode()).fetchall()
        path = self.server.data_dir / "db.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            return file.execute(query).fetchall()

    def stored(self) -> dict[int, Stored]:
        rows = [Stored(*row) for row in self.fetch(STORED)]
        return {row.generation: row for row in rows}

    def under_way(self) -> dict[int, int]:
        """Return the last stored seq of each answer that is not final."""
        return dict(self.fetch(UNDER_WAY))

    def epochs_at(self, server: Server) -> dict[int, int]:
        """Return the epoch of each answer that a server runs."""
        query = (
            "SELECT g.id, g.epoch FROM chat_generation g JOIN chat_process p ON p.id = g.owner "
            f"WHERE g.status = 'running' AND p.pid = {server.pid}"
        )
        return dict(self.fetch(query))

    def judge(self, storm: str, pages: list[Page], *, may_end_early: int | None = None) -> Report:
        """Compare what is stored, what is shown and what the provider says.

        `may_end_early`: an answer that made this many calls may be `interrupted`.
        """
        record = pages[0].record
        stored = self.stored()
        made = Counter(row.client_id for row in stored.values())
        texts = Counter(text for (text,) in self.fetch("SELECT text FROM chat_message WHERE role = 'user'"))
        answers: dict[int, str] = {}
        for page in pages:
            for client_id, generation in page.accepted.items():
                row = stored.get(generation)
                if row is None or row.client_id != client_id or made[client_id] != 1:
                    record.complain(f"{client_id} was accepted as {generation}, and is {row}")
            for screen in page.screens.values():
                row = stored[screen.generation]
                answers[screen.generation] = row.status
                record.complaints += _differences(screen.text, screen.end, screen.question, row)
                if texts[screen.question.text] != 1:
                    record.complain(f"{screen.question} is stored {texts[screen.question.text]} times")
                is_early = row.status == "interrupted" and may_end_early is not None
                if row.status != "completed" and not (is_early and row.calls >= (may_end_early or 0)):
                    record.complain(f"{row.generation} is {row.status} after {row.calls} calls")
        for server in self.servers:
            record.complaints += re.findall(r"^.* ERROR .*(?:\n(?!\d{4}-).*)*", server.log, re.M)
        if active := [row for row in stored.values() if row.status in {"queued", "running"}]:
            record.complain(f"not ended: {active}")
        return Report(
            storm,
            Counter(answers.values()),
            record.count("continued"),
            record.count("restarted"),
            sum(page.lost for page in pages),
            record.complaints,
        )

    async def judge_replay(self, record: Record, pages: list[Page], *, count: int = 60) -> None:
        """Open answers anew: what a new page shows is what the old one shows."""
        shown = {screen.generation: screen for page in pages for screen in page.screens.values()}
        for page in pages:
            mine = [shown[generation] for generation in sorted(set(page.accepted.values()))][-count:]
            fresh = Page(page.session, record, self.dice("fresh"))
            for screen in mine:
                fresh.show(screen)
            async with self.living([fresh]):
                await self.settled([fresh])
            for screen in mine:
                if fresh.screens[screen.generation].text != screen.text:
                    record.complain(f"a new page shows another text of {screen.generation}")


def _differences(shown: str, end: str, question: Question, row: Stored) -> Iterable[str]:
    if shown != row.text:
        yield f"{row.generation} shows {len(shown)} characters, and has {len(row.text)}"
    if end != row.status:
        yield f"{row.generation} ended as {end} on the screen, and is {row.status}"
    if question.text != row.question:
        yield f"{row.generation} asks {row.question!r}, not {question.text!r}"
    if row.status == "completed" and question.expected not in (None, row.text):
        yield f"{row.generation} is {row.text[-40:]!r}, not {(question.expected or '')[-40:]!r}"
