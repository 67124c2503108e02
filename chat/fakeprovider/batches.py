"""The files and batches APIs, in memory: each time a batch is read, it advances one step.

A batch with `metadata={"end": "failed"}` fails as a whole; with `"expired"` only its first half is run.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from chat.fakeprovider import error_bodies
from chat.fakeprovider.answer import ScriptedAnswer, document
from chat.fakeprovider.behaviours import Behaviour
from chat.fakeprovider.connection import ProviderRequest

_NEXT = {"validating": "in_progress", "in_progress": "completed", "cancelling": "cancelled"}

_ERRORS = {
    "expired": {"code": "batch_expired", "message": "This request could not be executed in time."},
    "cancelled": {"code": "batch_cancelled", "message": "This request was not executed."},
    "failed": {"code": "server_error", "message": "failed as requested"},
}


class Batches:
    """All files and batches. `complete` takes the body of one line and returns a status and its answer."""

    def __init__(self, complete: Callable[[Any], tuple[int, object]]) -> None:
        self._complete = complete
        self._files: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}

    def handle(self, request: ProviderRequest) -> tuple[int, object]:
        """ScriptedAnswer a request below /v1/: status, and JSON or bytes."""
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
                return self._create(_line(request.body))
            case "GET", "batches":
                return 200, {"object": "list", "data": list(self._batches.values()), "has_more": False}
            case "GET", "batches", id if id in self._batches:
                return 200, self._advance(self._batches[id])
            case "POST", "batches", id, "cancel" if id in self._batches:
                return 200, self._cancel(self._batches[id])
        return 404, error_bodies.error(
            404, f"{request.method} {request.path} is not supported", code="not_found"
        )

    def _upload(self, request: ProviderRequest) -> tuple[int, object]:
        parts = _multipart(request)
        if "file" not in parts:
            return 400, error_bodies.error(400, "the request must be a multipart form with a `file`")
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

    def _create(self, options: dict[str, Any]) -> tuple[int, object]:
        if options.get("input_file_id") not in self._files:
            return 400, error_bodies.error(400, "there is no file with this input_file_id")
        id = f"batch_{len(self._batches) + 1}"
        lines = self._contents[options["input_file_id"]].splitlines()
        self._batches[id] = {
            "id": id,
            "object": "batch",
            "endpoint": options.get("endpoint", "/v1/chat/completions"),
            "completion_window": options.get("completion_window", "24h"),
            "input_file_id": options["input_file_id"],
            "output_file_id": None,
            "error_file_id": None,
            "status": "validating",
            "created_at": int(time.time()),
            "metadata": options.get("metadata"),
            "errors": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        return 200, self._batches[id]

    def _advance(self, batch: dict[str, Any]) -> dict[str, Any]:
        is_last_step = batch["status"] == "in_progress"
        batch["status"] = _NEXT.get(batch["status"], batch["status"])
        if is_last_step:
            batch["status"] = self._end_of(batch)
            self._finish(batch)
        return batch

    def _end_of(self, batch: dict[str, Any]) -> str:
        end = batch["metadata"].get("end") if isinstance(batch["metadata"], dict) else None
        lines = map(_line, self._contents[batch["input_file_id"]].splitlines())
        of_lines = (_behaviour_of(self._complete(line.get("body"))[1]).batch_end for line in lines)
        return next(
            (each for each in (end, *of_lines) if each in ("failed", "expired", "cancelled")), "completed"
        )

    def _finish(self, batch: dict[str, Any]) -> None:
        if batch["status"] == "failed":
            error = {"code": "fake_failure", "message": "failed as requested", "line": None, "param": None}
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
            status, answer = self._complete(line.get("body"))
            word = _behaviour_of(answer).batch_line
            if batch["status"] in ("expired", "cancelled") and number >= len(lines) / 2:
                word = batch["status"]
            if word in _ERRORS:
                row = {"custom_id": line.get("custom_id"), "response": None, "error": _ERRORS[word]}
                failed.append(json.dumps(row) + "\n")
                continue
            body = json.loads(document(answer)) if isinstance(answer, ScriptedAnswer) else answer
            response = {"status_code": status, "request_id": f"req_batch_{number}", "body": body}
            row = {
                "id": f"batch_req_{number}",
                "custom_id": line.get("custom_id"),
                "response": response,
                "error": None,
            }
            copies = {"missing": 0, "doubled": 2}.get(word, 1)
            (done if status == 200 else failed).extend([json.dumps(row) + "\n"] * copies)
        batch["output_file_id"] = self._keep("output.jsonl", "".join(done).encode(), "batch_output")["id"]
        if failed:
            batch["error_file_id"] = self._keep("errors.jsonl", "".join(failed).encode(), "batch_output")[
                "id"
            ]
        batch[f"{batch['status']}_at"] = int(time.time())
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}


def _behaviour_of(answer: object) -> Behaviour:
    return answer.behaviour if isinstance(answer, ScriptedAnswer) else Behaviour()


def _line(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {}


def _multipart(request: ProviderRequest) -> dict[str, tuple[str, bytes]]:
    """Return the fields of a multipart form: name, and the file's name and content."""
    found = re.search(r"boundary=\"?([^\";]+)", request.headers.get("content-type", ""))
    if not found:
        return {}
    fields: dict[str, tuple[str, bytes]] = {}
    for part in request.body.split(b"--" + found[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        # `name` and `filename` may come in either order.
        names = dict(re.findall(rb'\b(name|filename)="([^"]*)"', head))
        fields[names.get(b"name", b"").decode()] = (names.get(b"filename", b"").decode(), content[:-2])
    return fields
