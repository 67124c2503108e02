"""The paths of the Responses API in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from chat.api import openapi_parts as parts
from chat.api.responses.views import NUMBER_MAX, PAGE_MAX


def paths() -> dict[str, Any]:
    response = parts.path_id("response_id", pattern="^resp_[0-9]{1,18}$")
    return {
        "/responses": {"post": _creation()},
        "/responses/input_tokens": {"post": _counting()},
        "/responses/{response_id}": {
            "get": _retrieval(response),
            "delete": parts.reading(
                "deleteResponse",
                "Delete a response. It is stopped if it runs.",
                "DeletedResponse",
                response,
            ),
        },
        "/responses/{response_id}/cancel": {
            "post": parts.reading(
                "cancelResponse", "Stop a response. Its text so far is kept.", "ResponseObject", response
            )
        },
        "/responses/{response_id}/input_items": {"get": _input(response)},
    }


def _creation() -> dict[str, Any]:
    return {
        "operationId": "createResponse",
        "summary": "Create a response. With `stream`, it arrives as server-sent events.",
        "parameters": [parts.header("Idempotency-Key", type="string", maxLength=255)],
        "requestBody": {"required": True, "content": parts.json_content("ResponsesRequest")},
        "responses": {
            "200": {
                "description": "The response; with `background`, as it is at the beginning.",
                "content": parts.json_content("ResponseObject") | parts.EVENT_STREAM,
            },
            **parts.errors(*parts.CREATE_ERRORS),
        },
    }


def _counting() -> dict[str, Any]:
    return {
        "operationId": "countInputTokens",
        "summary": "Estimate the tokens of a request's input. Nothing is created.",
        "requestBody": {"required": True, "content": parts.json_content("ResponsesRequest")},
        "responses": {
            "200": {"description": "OK.", "content": parts.json_content("InputTokenCount")},
            **parts.errors(*parts.CREATE_ERRORS),
        },
    }


def _retrieval(response: dict[str, Any]) -> dict[str, Any]:
    shown = parts.reading(
        "showResponse",
        "Get a response, or with `stream=true` its events: all, or those behind `starting_after`.",
        "ResponseObject",
        response,
        parts.query("stream", type="boolean"),
        parts.query("starting_after", type="integer", minimum=-1, maximum=NUMBER_MAX),
    )
    shown["responses"]["200"]["content"] |= parts.EVENT_STREAM
    return shown


def _input(response: dict[str, Any]) -> dict[str, Any]:
    return parts.reading(
        "listInputItems",
        "List what the request of a response sent, the newest first.",
        "InputItemList",
        response,
        parts.query("after", type="string"),
        parts.query("limit", type="integer", minimum=1, maximum=PAGE_MAX),
        parts.query("order", type="string", enum=["asc", "desc"]),
    )
