"""Files and provider batches, in memory: a batch is a step further each time it is looked at.

A batch with `metadata={"end": "failed"}` fails as a whole; with `"expired"` only its first half is done.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from chat.fakeprovider import refusals
from chat.fakeprovider.answer import Answer, document
from chat.fakeprovider.wire import Request

_NEXT = {"validating": "in_progress", "in_progress": "completed", "cancelling": "cancelled"}

_EXPIRED = {"error": {"code": "batch_expired", "message": "This request could not be executed in time."}}


class Batches:
    """`complete` answers one line's body: a status, and a document or an answer."""

    def __init__(self, complete: Callable[[Any], tuple[int, object]]) -> None:
        self._complete = complete
        self._files: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}

    def handle(self, request: Request) -> tuple[int, object]:
        """Answer a request below /v1/: status, and JSON or bytes."""
        match request.method, *request.path.strip("/").split("/")[1:]:
            case "POST", "files":
                return self._upload(request)
            case "GET", "files":
                return 200, {"object": "list", "data": list(self._files.values()), "has_more": False}
            case method, "files", id if id in self._files:
                return (200, self._files[id]) if method == "GET" else (200, self._delete(id))
            case "GET", "files", id, "content" if id in self._contents:
                return 200, self._contents[id]
            case "POST", "batches":
                return self._begin(_line(request.body))
            case "GET", "batches":
                return 200, {"object": "list", "data": list(self._batches.values()), "has_more": False}
            case "GET", "batches", id if id in self._batches:
                return 200, self._advance(self._batches[id])
            case "POST", "batches", id, "cancel" if id in self._batches:
                return 200, self._cancel(self._batches[id])
        return 404, refusals.error(404, f"no {request.method} {request.path} here", code="not_found")

    def _upload(self, request: Request) -> tuple[int, object]:
        parts = _multipart(request)
        if "file" not in parts:
            return 400, refusals.error(400, "a multipart form with a `file` is needed")
        name, content = parts["file"]
        purpose = parts.get("purpose", ("", b"batch"))[1].decode()
        return 200, self._keep(name, content, purpose)

    def _keep(self, name: str, content: bytes, purpose: str) -> dict[str, Any]:
        id = f"file-{len(self._contents) + 1}"
        self._contents[id] = content
        self._files[id] = {
            "id": id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        return self._files[id]

    def _delete(self, id: str) -> dict[str, Any]:
        del self._files[id]
        self._contents[id] = b""
        return {"id": id, "object": "file", "deleted": True}

    def _begin(self, asked: dict[str, Any]) -> tuple[int, object]:
        if asked.get("input_file_id") not in self._files:
            return 400, refusals.error(400, "input_file_id names no file")
        id = f"batch_{len(self._batches) + 1}"
        lines = self._contents[asked["input_file_id"]].splitlines()
        self._batches[id] = {
            "id": id,
            "object": "batch",
            "endpoint": asked.get("endpoint", "/v1/chat/completions"),
            "completion_window": asked.get("completion_window", "24h"),
            "input_file_id": asked["input_file_id"],
            "output_file_id": None,
            "error_file_id": None,
            "status": "validating",
            "created_at": int(time.time()),
            "metadata": asked.get("metadata"),
            "errors": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        return 200, self._batches[id]

    def _advance(self, batch: dict[str, Any]) -> dict[str, Any]:
        is_last_step = batch["status"] == "in_progress"
        batch["status"] = _NEXT.get(batch["status"], batch["status"])
        if is_last_step:
            wanted = batch["metadata"].get("end") if isinstance(batch["metadata"], dict) else None
            batch["status"] = wanted if wanted in ("failed", "expired") else "completed"
            self._end(batch)
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        if batch["status"] == "failed":
            error = {"code": "fake_failure", "message": "failed, as asked for", "line": None, "param": None}
            batch["errors"] = {"object": "list", "data": [error]}
        else:
            self._run(batch)

    def _cancel(self, batch: dict[str, Any]) -> dict[str, Any]:
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "cancelling"
        return batch

    def _run(self, batch: dict[str, Any]) -> None:
        done: list[str] = []
        failed: list[str] = []
        lines = self._contents[batch["input_file_id"]].splitlines()
        for number, raw in enumerate(lines):
            line = _line(raw)
            if batch["status"] == "expired" and number >= len(lines) / 2:
                failed.append(
                    json.dumps({"custom_id": line.get("custom_id"), "response": None} | _EXPIRED) + "\n"
                )
                continue
            status, found = self._complete(line.get("body"))
            body = json.loads(document(found)) if isinstance(found, Answer) else found
            response = {"status_code": status, "request_id": f"req_batch_{number}", "body": body}
            row = {
                "id": f"batch_req_{number}",
                "custom_id": line.get("custom_id"),
                "response": response,
                "error": None,
            }
            (done if status == 200 else failed).append(json.dumps(row) + "\n")
        batch["output_file_id"] = self._keep("output.jsonl", "".join(done).encode(), "batch_output")["id"]
        if failed:
            batch["error_file_id"] = self._keep("errors.jsonl", "".join(failed).encode(), "batch_output")[
                "id"
            ]
        batch[f"{batch['status']}_at"] = int(time.time())
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}


def _line(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {}


def _multipart(request: Request) -> dict[str, tuple[str, bytes]]:
    """Return the fields of a multipart form: file name and content each."""
    found = re.search(r"boundary=\"?([^\";]+)", request.headers.get("content-type", ""))
    if not found:
        return {}
    fields: dict[str, tuple[str, bytes]] = {}
    for part in request.body.split(b"--" + found[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        # `name` may stand beside `filename`, in either order.
        names = dict(re.findall(rb'\b(name|filename)="([^"]*)"', head))
        fields[names.get(b"name", b"").decode()] = (names.get(b"filename", b"").decode(), content[:-2])
    return fields
