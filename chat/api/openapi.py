"""GET /v1/openapi.json: the description of this API, generated from its structs."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from chat.api import schemas as wire

ERRORS = {
    400: "The request is invalid, or the model rejected it; `param` names the parameter.",
    401: "The API key is missing or not valid.",
    403: "The API key lacks the required scope.",
    404: "The model or generation does not exist.",
    405: "The path does not support this method.",
    409: "The generation was stopped, or the Idempotency-Key was used for another request.",
    413: "The body is too large.",
    429: "A limit of the API key, the user or the endpoint was reached; see Retry-After.",
    500: "Internal server error.",
    502: "The model's endpoint failed.",
    503: "The model is temporarily disabled, or its queue is full; see Retry-After.",
    504: "The model's endpoint timed out.",
}
CREATE_ERRORS = tuple(ERRORS)
READ_ERRORS = (400, 401, 403, 404, 405)
EVENT_STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


async def show(request: HttpRequest) -> HttpResponseBase:
    """Return the description of the API. No key is required."""
    return HttpResponse(document(), content_type="application/json")


@cache
def document() -> bytes:
    """Return the OpenAPI 3.1 document as JSON."""
    structs = [
        *(wire.CompletionRequest, wire.Completion, wire.Chunk, wire.ModelList, wire.ModelCard),
        *(wire.GenerationState, wire.ErrorReply),
    ]
    _refs, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Chatsite",
                "version": "1",
                "description": "OpenAI-compatible API with background generations and webhooks.",
            },
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
    generation = _path_id("id", pattern="^gen-[0-9]{1,18}$")
    return {
        "/chat/completions": {"post": _completions()},
        "/models": {"get": _reading("listModels", "List the available models.", "ModelList")},
        "/models/{model}": {
            "get": _reading("showModel", "Describe a model.", "ModelCard", _path_id("model", minLength=1))
        },
        "/generations/{id}": {
            "get": _reading("showGeneration", "Get the state of a generation.", "GenerationState", generation)
        },
        "/generations/{id}/events": {"get": _events(generation)},
        "/generations/{id}/cancel": {
            "post": _reading(
                "cancelGeneration",
                "Stop a generation. Its text so far is kept.",
                "GenerationState",
                generation,
            )
        },
    }


def _completions() -> dict[str, Any]:
    return {
        "operationId": "createCompletion",
        "summary": "Create a completion. With `stream`, it arrives as server-sent events.",
        "parameters": [_header("Idempotency-Key", type="string", maxLength=255)],
        "requestBody": {"required": True, "content": _json("CompletionRequest")},
        "responses": {
            "200": {
                "description": "The complete answer.",
                "content": _json("Completion") | EVENT_STREAM,
            },
            "202": {
                "description": "The answer is generated in the background.",
                "content": _json("GenerationState"),
            },
            **_errors(*CREATE_ERRORS),
        },
    }


def _events(generation: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": "followGeneration",
        "summary": "Stream the events of a generation: all of them, or those after `Last-Event-ID`.",
        "parameters": [generation, _header("Last-Event-ID", type="integer", minimum=0, maximum=2**31 - 1)],
        "responses": {
            "200": {
                "description": "Server-sent events, named as in docs/socket.md; `id` is the seq.",
                "content": EVENT_STREAM,
            },
            **_errors(*READ_ERRORS),
        },
    }


def _path_id(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def _header(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema}


def _reading(operation: str, summary: str, struct: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": {"description": "OK.", "content": _json(struct)}, **_errors(*READ_ERRORS)},
    }


def _json(struct: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct}"}}}


def _errors(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": ERRORS[status], "content": _json("ErrorReply")} for status in statuses
    }
