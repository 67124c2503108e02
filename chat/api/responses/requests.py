"""Requests for a response: received, completed by what they continue, and stored as generations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import msgspec
from channels.db import database_sync_to_async
from django.http import HttpRequest

from chat.api import attached, bodies, requests
from chat.api.attached import ReceivedFiles
from chat.api.bodies import SMALL_MAX_BYTES
from chat.api.file_parts import may_have_files, take_files
from chat.api.invalid_body import InvalidBody
from chat.api.parser_child import RESPONSES, ParsedHeader, digest_of
from chat.api.responses import chains, input_items
from chat.api.responses import schemas as wire
from chat.api.responses.chains import EarlierMessages, KnownResponses
from chat.api.responses.input import ParsedInput, check_calls, references_in, to_messages
from chat.api.responses.parsing import ParsedResponseBody, parameters_of, parse
from chat.models import ApiKey
from chat.models.api_request import ApiRequest, ResponseRequest
from chat.models.generation import StartedGeneration
from chat.models.large_request import LargeMessages, StoredMessages
from chat.text import last_user_text

NOTHING_EARLIER = EarlierMessages([], set())
NOTHING_KNOWN = KnownResponses()


@dataclass(frozen=True, slots=True)
class ReceivedResponseRequest:
    """A valid request for a response, with all its messages. `stored`: they are large, and stored already."""

    options: wire.ResponseOptions
    messages: list[dict[str, Any]]
    own_messages: int
    idempotency_key: str = ""
    # How long the client waits for the answer.
    patience_s: float = inf
    large: LargeMessages | None = None
    stored: StoredMessages | None = None
    # The ids of the attachments that its messages refer to, by reference.
    attachments: dict[str, str] = field(default_factory=dict)

    @property
    def outlives_connection(self) -> bool:
        """Whether the generation continues after the client disconnects, which can return for it."""
        return bool(self.options.background or self.idempotency_key)

    def store(self, key: ApiKey) -> StartedGeneration:
        """Store the request as a generation, in a transaction of the writer.

        Raises RequestRefused and ApiError.
        """
        request = ApiRequest(
            self.messages,
            parameters_of(self.options),
            large=self.large,
            attachments=self.attachments,
            response=ResponseRequest(
                own_messages=self.own_messages,
                has_instructions=bool(self.options.instructions),
                previous=self.options.previous_response_id,
                is_stored=self.options.store is not False,
                is_background=bool(self.options.background),
                echo=echo_of(self.options),
            ),
        )
        return requests.store(key, self.options, request, self.stored, self.idempotency_key)


async def receive(request: HttpRequest, key: ApiKey) -> ReceivedResponseRequest:
    """Return the request for a response of an HTTP request. Raises ApiError, as `bodies.receive`.

    Call `bodies.discard` with what is `stored` if no generation is created.
    """
    received = await _receive(request, key)
    is_waited_for = not received.options.background
    return replace(received, patience_s=requests.patience_of(request) if is_waited_for else inf)


async def _receive(request: HttpRequest, key: ApiKey) -> ReceivedResponseRequest:
    idempotency_key = requests.idempotency_key_of(request)
    head = bodies.head_of(request)
    if bodies.is_large(head):
        return await _receive_large(request, key, head, idempotency_key)
    try:
        parsed = await asyncio.to_thread(parse, head)
        return await _completed(key, parsed, idempotency_key=idempotency_key)
    except InvalidBody as exc:
        raise bodies.invalid(exc) from exc


async def from_parsed(
    key: ApiKey, parsed: ParsedResponseBody, known: KnownResponses
) -> ReceivedResponseRequest:
    """Return a request that came over a socket, which knows some responses by itself. Raises ApiError."""
    try:
        return await _completed(key, parsed, known)
    except InvalidBody as exc:
        raise bodies.invalid(exc) from exc


async def prepare(key: ApiKey, parsed: ParsedResponseBody, known: KnownResponses) -> EarlierMessages:
    """Return what a request without an answer leaves to the next one. Nothing is stored. Raises ApiError."""
    try:
        own, earlier, attachments = await _messages(key, parsed, known)
    except InvalidBody as exc:
        raise bodies.invalid(exc) from exc
    messages = [*earlier.messages, *map(msgspec.json.encode, own.messages)]
    return EarlierMessages(messages, earlier.call_ids | own.call_ids, attachments)


async def _completed(
    key: ApiKey,
    parsed: ParsedResponseBody,
    known: KnownResponses = NOTHING_KNOWN,
    *,
    idempotency_key: str = "",
) -> ReceivedResponseRequest:
    """Return a request together with what it refers to. Raises ApiError and InvalidBody."""
    own, earlier, attachments = await _messages(key, parsed, known)
    before = _before(parsed.options, earlier)
    own_count = len(own.messages)
    if sum(map(len, before)) <= SMALL_MAX_BYTES:
        messages = [*map(msgspec.json.decode, before), *own.messages]
        return ReceivedResponseRequest(
            parsed.options, messages, own_count, idempotency_key, attachments=attachments
        )
    text = last_user_text(own.messages)
    encoded = [*before, *map(msgspec.json.encode, own.messages)]
    return ReceivedResponseRequest(
        parsed.options,
        [],
        own_count,
        idempotency_key,
        large=LargeMessages(digest_of(own.messages), len(encoded), sum(map(len, encoded))),
        stored=await bodies.store_messages(encoded, text),
        attachments=attachments,
    )


async def _messages(
    key: ApiKey, parsed: ParsedResponseBody, known: KnownResponses
) -> tuple[ParsedInput, EarlierMessages, dict[str, str]]:
    """Return the messages of a request, those that it continues, and the attachments of both.

    Raises ApiError and InvalidBody.
    """
    own = await _own_messages(key, parsed)
    earlier = await _earlier(key, parsed.options, known)
    check_calls(own.unmatched, earlier.call_ids)
    if not may_have_files(own.messages):
        return own, earlier, earlier.attachments
    taken = await asyncio.to_thread(take_files, own.messages, "input")
    stored = await attached.store_files(key, ReceivedFiles.of(taken), "input")
    return own, earlier, earlier.attachments | stored


async def _receive_large(
    request: HttpRequest, key: ApiKey, head: bytes, idempotency_key: str
) -> ReceivedResponseRequest:
    own_count, attachments = 0, {}

    async def before(header: ParsedHeader) -> Sequence[bytes]:
        nonlocal own_count, attachments
        options = _options_of(header)
        own_count = header.message_count
        earlier = await _earlier(key, options, NOTHING_KNOWN)
        check_calls(header.unmatched, earlier.call_ids)
        attachments = earlier.attachments
        return _before(options, earlier)

    try:
        received = await bodies.receive_large(request, head, kind=RESPONSES, before=before)
    except InvalidBody as exc:
        raise bodies.invalid(exc) from exc
    stored = await requests.store_files(key, received.files, "input", received.stored)
    return ReceivedResponseRequest(
        _options_of(received.header),
        [],
        own_count,
        idempotency_key,
        large=received.large,
        stored=received.stored,
        attachments=attachments | stored,
    )


def _options_of(header: ParsedHeader) -> wire.ResponseOptions:
    assert header.response_options is not None
    return header.response_options


async def _own_messages(key: ApiKey, parsed: ParsedResponseBody) -> ParsedInput:
    """Return the messages that the items of a request become."""
    references = references_in(parsed.items)
    resolve = database_sync_to_async(input_items.resolve)
    found = await resolve(key, list(references)) if references else {}
    return to_messages(parsed.items, found)


async def _earlier(key: ApiKey, options: wire.ResponseOptions, known: KnownResponses) -> EarlierMessages:
    previous = options.previous_response_id
    if previous is None:
        return NOTHING_EARLIER
    if previous in known.prepared:
        return known.prepared[previous]
    read = database_sync_to_async(chains.earlier_messages)
    earlier: EarlierMessages = await read(key, previous, known.unstored)
    return earlier


def _before(options: wire.ResponseOptions, earlier: EarlierMessages) -> list[bytes]:
    """Return the messages in front of a request's own: its instructions, and what it continues."""
    if not options.instructions:
        return earlier.messages
    # Not `developer`, OpenAI's newer word: its models take both, the templates of many others only this one.
    instructions = {"role": "system", "content": options.instructions}
    return [msgspec.json.encode(instructions), *earlier.messages]


def echo_of(options: wire.ResponseOptions) -> dict[str, Any]:
    """Return the parameters that the response returns, in full: clients expect each of their fields."""
    values = msgspec.to_builtins({name: getattr(options, name) for name in wire.ECHOED})
    echo: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if "tools" in echo:
        names = ("type", "name", "description", "parameters", "strict")
        echo["tools"] = [{name: tool.get(name) for name in names} for tool in echo["tools"]]
    if "text" in echo:
        text = {"format": echo["text"]["format"] or {"type": "text"}, "verbosity": echo["text"]["verbosity"]}
        echo["text"] = {name: value for name, value in text.items() if value is not None}
    if "reasoning" in echo:
        echo["reasoning"] = {name: echo["reasoning"][name] for name in ("effort", "summary")}
    return echo
