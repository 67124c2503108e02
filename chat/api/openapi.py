"""GET /v1/openapi.json: the description of this API, made from the structs it is read and written with."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from chat.api import schemas as wire

ERRORS = {
    400: "The request does not make sense, or the model refused it; `param` says where.",
    401: "No API key, or one that is not in force.",
    403: "The API key lacks the scope.",
    404: "There is no such model or generation.",
    405: "The path takes another method.",
    409: "The answer was stopped, or the Idempotency-Key was used for another request.",
    413: "The body is too large.",
    429: "A limit of the key, of its person, or of the endpoint; Retry-After says when.",
    500: "A fault of this program.",
    502: "A fault of the endpoint that the model is at.",
    503: "The endpoint is left alone for a moment, or too many wait for it; Retry-After says when.",
    504: "The endpoint took too long.",
}
ASKING = tuple(ERRORS)
READING = (400, 401, 403, 404, 405)


async def show(request: HttpRequest) -> HttpResponseBase:
    """Describe the API; needs no key."""
    return HttpResponse(document(), content_type="application/json")


@cache
def document() -> bytes:
    """Return the OpenAPI 3.1 description."""
    structs = [
        *(wire.CompletionRequest, wire.Completion, wire.Chunk, wire.ModelList, wire.ModelCard),
        *(wire.Generation, wire.ErrorReply),
    ]
    _refs, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Chatsite", "version": "1", "description": "OpenAI-compatible, and more."},
            "servers": [{"url": "/v1"}],
            "security": [{"key": []}],
            "paths": _paths(),
            "components": {
                "schemas": components,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _paths() -> dict[str, Any]:
    generation = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^gen-[0-9]{1,18}$"},
    }
    last_seen = {
        "name": "Last-Event-ID",
        "in": "header",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    }
    idempotency = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {
        "/chat/completions": {
            "post": {
                "operationId": "createCompletion",
                "summary": "Ask a model; with `stream`, the answer comes as server-sent events.",
                "parameters": [idempotency],
                "requestBody": {"required": True, "content": _json("CompletionRequest")},
                "responses": {
                    "200": {
                        "description": "The complete answer.",
                        "content": _json("Completion")
                        | {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    "202": {"description": "It runs in the background.", "content": _json("Generation")},
                    **_errors(*ASKING),
                },
            }
        },
        "/models": {"get": _reading("listModels", "List the models that can be asked.", "ModelList")},
        "/models/{model}": {
            "get": {**_reading("showModel", "Describe a model.", "ModelCard"), "parameters": [model]}
        },
        "/generations/{id}": {
            "get": {
                **_reading("showGeneration", "Say what became of a request.", "Generation"),
                "parameters": [generation],
            }
        },
        "/generations/{id}/events": {
            "get": {
                "operationId": "followGeneration",
                "summary": "Tell what happens, from the beginning or after `Last-Event-ID`, until the end.",
                "parameters": [generation, last_seen],
                "responses": {
                    "200": {
                        "description": "Server-sent events, as docs/socket.md names them; `id` is the seq.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    **_errors(*READING),
                },
            }
        },
        "/generations/{id}/cancel": {
            "post": {
                **_reading("cancelGeneration", "End it, and keep its text.", "Generation"),
                "parameters": [generation],
            }
        },
    }


def _reading(operation: str, summary: str, struct: str) -> dict[str, Any]:
    found = {"description": "Found.", "content": _json(struct)}
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": found, **_errors(*READING)},
    }


def _json(struct: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct}"}}}


def _errors(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": ERRORS[status], "content": _json("ErrorReply")} for status in statuses
    }
