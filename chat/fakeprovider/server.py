"""The fake provider: an OpenAI-compatible server on loopback that fails in every way it is asked to."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any, Self

from chat.fakeprovider import directives, question, refusals, threaded
from chat.fakeprovider.answer import full_text, prepare
from chat.fakeprovider.batches import Batches
from chat.fakeprovider.behaviours import PRESETS, Behaviour, describe
from chat.fakeprovider.control import Control
from chat.fakeprovider.directives import Unknown
from chat.fakeprovider.journal import Journal, Record
from chat.fakeprovider.question import BadRequest, Question
from chat.fakeprovider.responder import Player, Stage
from chat.fakeprovider.schedule import CHAT, Entry, Gates, Script, dice_for
from chat.fakeprovider.threaded import ThreadedProvider
from chat.fakeprovider.timer import Metronome
from chat.fakeprovider.wire import ClientLeft, Malformed, Request, Wire, listen

MODELS = (
    "fake",
    *(f"fake-{name}" for name in PRESETS if name != "healthy"),
    "fake-cut-after-10",
    "fake-context-200",
)


class Refused(Exception):
    """A request that no behaviour is needed to refuse."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = refusals.error(status, message, code=code)


class FakeProvider:
    """Serves while it is entered: `async with FakeProvider() as provider: …`.

    `rate` is the speed of answers that name none (0: as fast as possible). With a `key`, requests
    without it get 401. All methods belong to the event loop it runs in; from another thread use
    `FakeProvider.in_thread()`.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, rate: float = 0, key: str = "", seed: int = 0
    ) -> None:
        self._host, self._port, self._key = host, port, key
        self._rate, self._seed = rate, seed
        self._wires: dict[Wire, asyncio.Task[None] | None] = {}
        self.journal = Journal()
        self.arranged = Script()
        self.gates = Gates()
        self._stage = Stage(self.journal, self.gates, Metronome())
        self._batches = Batches(self.complete)
        self._control = Control(self.journal, self.arranged, self.gates, self.text_for)

    async def __aenter__(self) -> Self:
        self._server = await listen(self._serve, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = [task for task in self._wires.values() if task]
        for wire in list(self._wires):
            wire.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @classmethod
    def in_thread(cls, **options: Any) -> AbstractContextManager[ThreadedProvider]:
        """Return a context manager: this provider in a thread, with verbs that block."""
        return threaded.host(cls(**options))

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[Record]:
        """The chat completion requests so far, oldest first."""
        return [record for record in self.journal.records if record.path == CHAT]

    def script(self, do: str, **when: Any) -> None:
        """Arrange behaviours (`"status=503"`, several with `;`) as `script.Entry` says. Raises Unknown."""
        self.arranged.add(Entry(do, **when))

    def release(self, gate: str) -> None:
        self.gates.release(gate)

    def text_for(self, text: str, model: str = "fake", attempt: int = 1) -> str:
        """Return the whole answer that a model gives to a message."""
        asked = question.read({"model": model, "messages": [{"role": "user", "content": text}]})
        return full_text(self._behaviour(asked, attempt, []), asked, attempt)

    async def wait_for(self, claim: Callable[[Record], bool], timeout_s: float = 10) -> Record:
        """Return the first request for which `claim` holds, as soon as there is one. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return (await self.journal.find(claim))[0]

    async def wait_held(self, gate: str, timeout_s: float = 10) -> Record:
        """Return the request that waits at a gate, as soon as it does."""
        return await self.wait_for(lambda record: record.gate == gate, timeout_s)

    async def wait_requests(self, count: int, timeout_s: float = 10) -> list[Record]:
        """Return the answered or broken off chat requests, as soon as there are `count` of them."""
        async with asyncio.timeout(timeout_s):
            return await self.journal.find(
                lambda record: record.path == CHAT and record.state == "ended", count
            )

    async def _serve(self, wire: Wire) -> None:
        self._wires[wire] = asyncio.current_task()
        try:
            await self._serve_requests(wire)
        except Malformed as exc:
            wire.is_reusable = False
            with contextlib.suppress(ClientLeft):
                self._respond(wire, 400, refusals.error(400, str(exc)))
        except (ClientLeft, ConnectionError):
            pass
        finally:
            del self._wires[wire]
            wire.close()

    async def _serve_requests(self, wire: Wire) -> None:
        while wire.is_reusable and (request := await wire.read()):
            if request.path.startswith("/v1/"):
                await self._provide(request, wire)
            else:
                self._respond(wire, *self._steer(request))

    def _steer(self, request: Request) -> tuple[int, object]:
        try:
            return self._control.handle(request)
        except Refused as exc:
            return exc.status, exc.document

    def _respond(self, wire: Wire, status: int, document: object) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = "application/octet-stream" if isinstance(document, bytes) else "application/json"
        wire.head(status, {"content-type": kind}, size=len(body))
        wire.body(body)

    async def _provide(self, request: Request, wire: Wire) -> None:
        async with self._recorded(request, wire) as record:
            try:
                self._check_key(request)
                do = self._chat if request.path == CHAT and request.method == "POST" else self._other
                record.outcome = await do(request, record, wire)
            except Refused as exc:
                record.status, record.outcome = exc.status, "refused"
                self._respond(wire, exc.status, exc.document)

    @contextlib.asynccontextmanager
    async def _recorded(self, request: Request, wire: Wire) -> AsyncIterator[Record]:
        record = self.journal.begin(request)
        try:
            yield record
        except ClientLeft:
            record.outcome, record.left_s = "left", self.journal.at_s(wire.left_at)
            raise
        finally:
            record.sent_bytes = wire.sent_bytes
            self.journal.end(record, record.outcome or "aborted")

    def _check_key(self, request: Request) -> None:
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            raise Refused(401, "Incorrect API key provided: fake key expected.")

    async def _chat(self, request: Request, record: Record, wire: Wire) -> str:
        record.body = request.json()
        asked = self._read(record.body)
        record.model, record.prefill, record.prefill_form = asked.model, asked.prefill, asked.prefill_form
        self.journal.count_attempt(record, asked.text)
        arranged = self.arranged.take(asked.model, request.path)
        behaviour = self._behaviour(asked, record.attempt, arranged)
        record.behaviour = describe(behaviour)
        player = Player(wire, record, behaviour, self._stage)
        self.journal.ring()
        if outcome := await player.strike_before():
            return outcome
        self._check_fits(asked, behaviour)
        record.answer = prepare(f"chatcmpl-{record.id}", behaviour, asked, record.attempt)
        record.prefill_matched = record.answer.prefill_matched
        play = player.stream if asked.is_streamed and not behaviour.unstreamed else player.deliver
        return await play(record.answer)

    def _read(self, body: Any) -> Question:
        try:
            return question.read(body)
        except BadRequest as exc:
            raise Refused(400, str(exc)) from exc

    def _behaviour(self, asked: Question, attempt: int, arranged: list[directives.Directive]) -> Behaviour:
        try:
            by_model = directives.in_model(asked.model)
        except Unknown as exc:
            raise Refused(404, f"The model `{asked.model}` does not exist: {exc}", "model_not_found") from exc
        base = directives.Directive({"rate": self._rate})
        dice = dice_for(self._seed, asked.text, attempt)
        try:
            by_message = directives.in_message(asked.text)
            return directives.combine([base, *by_model, *by_message, *arranged], attempt, dice)
        except Unknown as exc:
            raise Refused(400, str(exc), "unknown_directive") from exc

    def _check_fits(self, asked: Question, behaviour: Behaviour) -> None:
        if behaviour.context and asked.prompt_words > behaviour.context:
            refused = Refused(400, "too long")
            refused.document = refusals.too_long(
                behaviour.context_error, behaviour.context, asked.prompt_words
            )
            raise refused
        is_refused = behaviour.prefill == "reject" or (
            behaviour.prefill == "prefix" and asked.prefill_form != "prefix"
        )
        if asked.prefill is not None and is_refused:
            raise Refused(400, "The last message must be the user's: prefilling is not supported.")

    async def _other(self, request: Request, record: Record, wire: Wire) -> str:
        """Models, files and batches; what the script breaks of them is only what comes before an answer."""
        dice = dice_for(self._seed, record.id, 1)
        behaviour = directives.combine(self.arranged.take("", request.path), 1, dice)
        player = Player(wire, record, behaviour, self._stage)
        if outcome := await player.strike_before():
            return outcome
        status, document = self._models(request) or self._batches.handle(request)
        record.status = status
        self._respond(wire, status, document)
        return "complete"

    def _models(self, request: Request) -> tuple[int, object] | None:
        if request.path.rstrip("/") != "/v1/models" or request.method != "GET":
            return None
        rows = [
            {"id": name, "object": "model", "created": int(time.time()), "owned_by": "fake"}
            for name in MODELS
        ]
        return 200, {"object": "list", "data": rows}

    def complete(self, body: Any) -> tuple[int, object]:
        """Answer one line of a batch: status and document. Raises nothing."""
        try:
            asked = self._read(body)
            behaviour = self._behaviour(asked, 1, [])
            for fault in behaviour.faults:
                return fault.status, refusals.error_of(fault)
            self._check_fits(asked, behaviour)
        except Refused as exc:
            return exc.status, exc.document
        return 200, prepare("chatcmpl-batch", behaviour, asked, 1)
