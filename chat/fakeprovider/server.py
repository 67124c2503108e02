"""The fake provider: an OpenAI-compatible server on loopback that fails as configured."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from chat.fakeprovider import chat_request, directives, embeddings, error_bodies
from chat.fakeprovider.answer import full_text, prepare
from chat.fakeprovider.batches import Batches
from chat.fakeprovider.behaviours import PRESETS, Behaviour, describe
from chat.fakeprovider.chat_request import ChatRequest, InvalidChatRequest
from chat.fakeprovider.connection import (
    ClientDisconnected,
    HttpConnection,
    MalformedRequest,
    ProviderRequest,
    listen,
)
from chat.fakeprovider.control import ControlApi
from chat.fakeprovider.directives import Directive, UnknownDirective
from chat.fakeprovider.journal import Journal, RequestRecord
from chat.fakeprovider.responder import Responder, ResponderContext
from chat.fakeprovider.schedule import CHAT, Gates, Schedule, ScheduledFault, rng_for
from chat.fakeprovider.timer import SharedTimer

MODELS = (
    "fake",
    *(f"fake-{name}" for name in PRESETS if name != "healthy"),
    "fake-cut-after-10",
    "fake-context-200",
)
LISTED_CONTEXT_TOKENS = 8192
EMBEDDINGS = "/v1/embeddings"


class RequestRejected(Exception):
    """A request that is rejected before any behaviour applies."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = error_bodies.error(status, message, code=code)


def _tls_context(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class FakeProvider:
    """A context manager that serves until it is left: `async with FakeProvider() as provider: …`.

    `rate` is the default speed of answers (0: as fast as possible). With a `key`, requests without it
    get 401. With `tls`, a PEM file with a certificate and its private key, it speaks https.
    Its methods must be called in its event loop; other threads use ThreadedProvider.
    Raises OSError (ssl.SSLError among them) for a file that is no such certificate.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: float = 0,
        key: str = "",
        seed: int = 0,
        tls: str = "",
    ) -> None:
        self._host, self._port, self._key = host, port, key
        self._tls = _tls_context(tls) if tls else None
        self._rate, self._seed = rate, seed
        self._connections: dict[HttpConnection, asyncio.Task[None] | None] = {}
        self.journal = Journal()
        self.schedule = Schedule()
        self.gates = Gates()
        self._context = ResponderContext(self.journal, self.gates, SharedTimer())
        self._batches = Batches(self.complete)
        self._control = ControlApi(self.journal, self.schedule, self.gates, self.text_for)

    async def __aenter__(self) -> Self:
        self._server = await listen(self._serve, self._host, self._port, self._tls)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = [task for task in self._connections.values() if task]
        for connection in list(self._connections):
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[RequestRecord]:
        """The chat completion requests so far, oldest first."""
        return [record for record in self.journal.records if record.path == CHAT]

    def script(self, do: str, **when: Any) -> None:
        """Schedule directives (`"status=503"`; several separated by `;`): see ScheduledFault.

        Raises UnknownDirective.
        """
        self.schedule.add(ScheduledFault(do, **when))

    def release(self, gate: str) -> None:
        self.gates.release(gate)

    def text_for(self, text: str, model: str = "fake", attempt: int = 1) -> str:
        """Return the whole answer that a model gives to a message."""
        request = chat_request.parse({"model": model, "messages": [{"role": "user", "content": text}]})
        return full_text(self._behaviour(request, attempt, []), request, attempt)

    async def wait_for(
        self, condition: Callable[[RequestRecord], bool], timeout_s: float = 10
    ) -> RequestRecord:
        """Wait until `condition` holds for a request, and return the first one. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return (await self.journal.find(condition))[0]

    async def wait_held(self, gate: str, timeout_s: float = 10) -> RequestRecord:
        """Wait until a request waits at the gate, and return it."""
        return await self.wait_for(lambda record: record.gate == gate, timeout_s)

    async def wait_requests(self, count: int, timeout_s: float = 10) -> list[RequestRecord]:
        """Wait until `count` chat requests have ended, and return them."""
        async with asyncio.timeout(timeout_s):
            return await self.journal.find(
                lambda record: record.path == CHAT and record.state == "ended", count
            )

    async def _serve(self, connection: HttpConnection) -> None:
        self._connections[connection] = asyncio.current_task()
        try:
            await self._serve_requests(connection)
        except MalformedRequest as exc:
            connection.is_reusable = False
            with contextlib.suppress(ClientDisconnected):
                self._respond(connection, 400, error_bodies.error(400, str(exc)))
        except (ClientDisconnected, ConnectionError):
            pass
        finally:
            del self._connections[connection]
            connection.close()

    async def _serve_requests(self, connection: HttpConnection) -> None:
        while connection.is_reusable and (request := await connection.read()):
            if request.path.startswith("/v1/"):
                await self._provide(request, connection)
            else:
                self._respond(connection, *self._handle_control(request))

    def _handle_control(self, request: ProviderRequest) -> tuple[int, object]:
        try:
            return self._control.handle(request)
        except RequestRejected as exc:
            return exc.status, exc.document

    def _respond(self, connection: HttpConnection, status: int, document: object) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = "application/octet-stream" if isinstance(document, bytes) else "application/json"
        connection.head(status, {"content-type": kind}, size=len(body))
        connection.body(body)

    async def _provide(self, request: ProviderRequest, connection: HttpConnection) -> None:
        async with self._recorded(request, connection) as record:
            try:
                self._check_key(request)
                respond = self._chat if request.path == CHAT and request.method == "POST" else self._other
                record.outcome = await respond(request, record, connection)
            except RequestRejected as exc:
                record.status, record.outcome = exc.status, "refused"
                self._respond(connection, exc.status, exc.document)

    @contextlib.asynccontextmanager
    async def _recorded(
        self, request: ProviderRequest, connection: HttpConnection
    ) -> AsyncIterator[RequestRecord]:
        record = self.journal.begin(request)
        try:
            yield record
        except ClientDisconnected:
            record.outcome, record.left_s = "left", self.journal.at_s(connection.disconnected_at)
            raise
        finally:
            record.sent_bytes = connection.sent_bytes
            self.journal.end(record, record.outcome or "aborted")

    def _check_key(self, request: ProviderRequest) -> None:
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            raise RequestRejected(401, "Incorrect API key provided: fake key expected.")

    async def _chat(self, request: ProviderRequest, record: RequestRecord, connection: HttpConnection) -> str:
        record.body = request.json()
        chat = self._parse(record.body)
        record.model, record.prefill, record.prefill_form = chat.model, chat.prefill, chat.prefill_form
        self.journal.count_attempt(record, chat.question)
        behaviour = self._behaviour(chat, record.attempt, self.schedule.take(chat.model, request.path))
        record.behaviour = describe(behaviour)
        responder = Responder(connection, record, behaviour, self._context)
        self.journal.notify()
        if outcome := await responder.fail_before_answer():
            return outcome
        self._check_fits(chat, behaviour)
        record.answer = prepare(f"chatcmpl-{record.id}", behaviour, chat, record.attempt)
        record.prefill_matched = record.answer.prefill_matched
        if chat.is_streamed and not behaviour.unstreamed:
            return await responder.stream(record.answer)
        return await responder.deliver(record.answer)

    def _parse(self, body: Any) -> ChatRequest:
        try:
            return chat_request.parse(body)
        except InvalidChatRequest as exc:
            raise RequestRejected(400, str(exc)) from exc

    def _behaviour(self, chat: ChatRequest, attempt: int, scheduled: list[Directive]) -> Behaviour:
        try:
            in_model = directives.in_model(chat.model)
        except UnknownDirective as exc:
            message = f"The model `{chat.model}` does not exist: {exc}"
            raise RequestRejected(404, message, "model_not_found") from exc
        base = Directive({"rate": self._rate})
        rng = rng_for(self._seed, chat.question, attempt)
        try:
            in_message = directives.in_message(chat.question)
            return directives.combine([base, *in_model, *in_message, *scheduled], attempt, rng)
        except UnknownDirective as exc:
            raise RequestRejected(400, str(exc), "unknown_directive") from exc

    def _check_fits(self, chat: ChatRequest, behaviour: Behaviour) -> None:
        """Raise RequestRejected for a prompt beyond the context, and for turns that are not supported."""
        if behaviour.alternate and not chat.alternates:
            raise RequestRejected(400, "Conversation roles must alternate user/assistant/user/assistant/...")
        if refused := sorted(chat.fields.intersection(behaviour.refuse.split("+"))):
            raise RequestRejected(400, f"'{refused[0]}' is not supported with this model.")
        if behaviour.context and chat.prompt_words > behaviour.context:
            rejected = RequestRejected(400, "too long")
            rejected.document = error_bodies.context_exceeded(
                behaviour.context_error, behaviour.context, chat.prompt_words
            )
            raise rejected
        accepts_prefill = behaviour.prefill != "reject" and (
            behaviour.prefill != "prefix" or chat.prefill_form == "prefix"
        )
        if chat.prefill is not None and not accepts_prefill:
            raise RequestRejected(400, "The last message must be a user message: prefill is not supported.")

    async def _other(
        self, request: ProviderRequest, record: RequestRecord, connection: HttpConnection
    ) -> str:
        """Serve models, embeddings, files and batches. Of scheduled faults, those before an answer apply."""
        rng = rng_for(self._seed, record.id, 1)
        behaviour = directives.combine(self.schedule.take("", request.path), 1, rng)
        responder = Responder(connection, record, behaviour, self._context)
        if outcome := await responder.fail_before_answer():
            return outcome
        if request.path == EMBEDDINGS and request.method == "POST":
            status, document = embeddings.document(request.json())
        else:
            status, document = self._models(request) or self._batches.handle(request)
        record.status = status
        self._respond(connection, status, document)
        return "complete"

    def _models(self, request: ProviderRequest) -> tuple[int, object] | None:
        if request.path.rstrip("/") != "/v1/models" or request.method != "GET":
            return None
        models = [
            {"id": name, "object": "model", "created": int(time.time()), "owned_by": "fake"}
            # As many servers do, it names the context of some models only.
            | ({"context_length": LISTED_CONTEXT_TOKENS} if name == "fake-fast" else {})
            for name in MODELS
        ]
        return 200, {"object": "list", "data": models}

    def complete(self, body: Any) -> tuple[int, object]:
        """Answer one line of a batch: return status and document. Raises nothing."""
        try:
            chat = self._parse(body)
            behaviour = self._behaviour(chat, 1, [])
            for fault in behaviour.faults:
                return fault.status, error_bodies.error_of(fault)
            self._check_fits(chat, behaviour)
        except RequestRejected as exc:
            return exc.status, exc.document
        return 200, prepare("chatcmpl-batch", behaviour, chat, 1)
