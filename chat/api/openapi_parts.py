"""Parts of the OpenAPI document that its paths share: parameters, contents and errors."""

from __future__ import annotations

from typing import Any

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
# Without a schema: OpenAPI 3.1 has none for streams, and programs read one as that of each event.
EVENT_STREAM: dict[str, Any] = {"text/event-stream": {}}


def path_id(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def query(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def header(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema}


def reading(operation: str, summary: str, struct: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": {"description": "OK.", "content": json_content(struct)}, **errors(*READ_ERRORS)},
    }


def json_content(struct: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct}"}}}


def errors(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": ERRORS[status], "content": json_content("ErrorReply")}
        for status in statuses
    }
