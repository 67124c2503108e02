"""GET /v1/openapi.json: the description of this API, generated from its structs."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from chat.api import batch_description
from chat.api import openapi_parts as parts
from chat.api import schemas as wire
from chat.api.embeddings import EmbeddingList, EmbeddingRequest
from chat.api.responses import description
from chat.api.responses import schemas as responses


async def show(request: HttpRequest) -> HttpResponseBase:
    """Return the description of the API. No key is required."""
    return HttpResponse(document(), content_type="application/json")


@cache
def document() -> bytes:
    """Return the OpenAPI 3.1 document as JSON."""
    structs = [
        *(wire.CompletionRequest, wire.Completion, wire.Chunk, wire.ModelList, wire.ModelCard),
        *(wire.GenerationState, wire.ErrorReply, EmbeddingRequest, EmbeddingList),
        *(responses.ResponsesRequest, responses.ResponseObject, responses.DeletedResponse),
        *(responses.InputItemList, responses.InputTokenCount),
        *batch_description.STRUCTS,
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
    generation = parts.path_id("id", pattern="^gen-[0-9]{1,18}$")
    return {
        "/chat/completions": {"post": _completions()},
        "/embeddings": {"post": _embeddings()},
        "/models": {"get": parts.reading("listModels", "List the available models.", "ModelList")},
        "/models/{model}": {
            "get": parts.reading(
                "showModel", "Describe a model.", "ModelCard", parts.path_id("model", minLength=1)
            )
        },
        **description.paths(),
        **batch_description.paths(),
        "/generations/{id}": {
            "get": parts.reading(
                "showGeneration", "Get the state of a generation.", "GenerationState", generation
            )
        },
        "/generations/{id}/events": {"get": _events(generation)},
        "/generations/{id}/cancel": {
            "post": parts.reading(
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
        "parameters": [parts.header("Idempotency-Key", type="string", maxLength=255)],
        "requestBody": {"required": True, "content": parts.json_content("CompletionRequest")},
        "responses": {
            "200": {
                "description": "The complete answer.",
                "content": parts.json_content("Completion") | parts.EVENT_STREAM,
            },
            "202": {
                "description": "The answer is generated in the background.",
                "content": parts.json_content("GenerationState"),
            },
            **parts.errors(*parts.CREATE_ERRORS),
        },
    }


def _embeddings() -> dict[str, Any]:
    return {
        "operationId": "createEmbeddings",
        "summary": "Get the embeddings of texts.",
        "requestBody": {"required": True, "content": parts.json_content("EmbeddingRequest")},
        "responses": {
            "200": {"description": "The embeddings.", "content": parts.json_content("EmbeddingList")},
            **parts.errors(*parts.CREATE_ERRORS),
        },
    }


def _events(generation: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": "followGeneration",
        "summary": "Stream the events of a generation: all of them, or those after `Last-Event-ID`.",
        "parameters": [
            generation,
            parts.header("Last-Event-ID", type="integer", minimum=0, maximum=2**31 - 1),
        ],
        "responses": {
            "200": {
                "description": "Server-sent events, named as in docs/socket.md; `id` is the seq.",
                "content": parts.EVENT_STREAM,
            },
            **parts.errors(*parts.READ_ERRORS),
        },
    }
