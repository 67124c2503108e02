"""The paths of files and batches in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from chat.api import batches, files
from chat.api import openapi_parts as parts

STRUCTS = (
    *(files.FileObject, files.FileList, files.DeletedFile),
    *(batches.BatchRequest, batches.BatchObject, batches.BatchList),
)
CREATE_ERRORS = (400, 401, 403, 404, 405, 413)
NUMBER_MAX = 2**31 - 1


def paths() -> dict[str, Any]:
    file = parts.path_id("file_id", pattern="^file-[0-9a-f]{32}$")
    batch = parts.path_id("batch_id", pattern="^batch_[0-9a-f]{32}$")
    limit = parts.query("limit", type="integer", minimum=1, maximum=NUMBER_MAX)
    purpose = parts.query("purpose", type="string")
    return {
        "/files": {
            "get": parts.reading(
                "listFiles", "List the files, the newest first.", "FileList", limit, purpose
            ),
            "post": _upload(),
        },
        "/files/{file_id}": {
            "get": parts.reading("showFile", "Describe a file.", "FileObject", file),
            "delete": parts.reading(
                "deleteFile", "Delete a file. Batches made of it are kept.", "DeletedFile", file
            ),
        },
        "/files/{file_id}/content": {"get": _content(file)},
        "/batches": {
            "get": parts.reading(
                "listBatches",
                "List the batches, the newest first.",
                "BatchList",
                limit,
                parts.query("after", type="string"),
            ),
            "post": _creation(),
        },
        "/batches/{batch_id}": {
            "get": parts.reading("showBatch", "Get the state of a batch.", "BatchObject", batch)
        },
        "/batches/{batch_id}/cancel": {"post": _cancellation(batch)},
    }


def _upload() -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "purpose": {"type": "string", "enum": ["batch", "user_data", "vision", "assistants"]},
        },
    }
    return {
        "operationId": "createFile",
        "summary": "Upload a file of requests, one JSON object a line.",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}},
        "responses": {
            "200": {"description": "OK.", "content": parts.json_content("FileObject")},
            **parts.errors(*CREATE_ERRORS),
        },
    }


def _content(file: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": "showFileContent",
        "summary": "Get the content of a file, or the results of a batch.",
        "parameters": [file],
        "responses": {
            "200": {"description": "The content.", "content": {"application/octet-stream": {}}},
            **parts.errors(*parts.READ_ERRORS),
        },
    }


def _creation() -> dict[str, Any]:
    return {
        "operationId": "createBatch",
        "summary": "Check the lines of a file, and run them. A bad file is a batch that failed.",
        "requestBody": {"required": True, "content": parts.json_content("BatchRequest")},
        "responses": {
            "200": {"description": "OK.", "content": parts.json_content("BatchObject")},
            **parts.errors(*CREATE_ERRORS),
        },
    }


def _cancellation(batch: dict[str, Any]) -> dict[str, Any]:
    shown = parts.reading("cancelBatch", "Cancel a batch. What was answered is kept.", "BatchObject", batch)
    shown["responses"] |= parts.errors(409)
    return shown
