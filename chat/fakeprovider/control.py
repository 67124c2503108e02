"""The control endpoint: arrange behaviours, open gates, read the log."""

from collections.abc import Callable
from typing import Any

from chat.fakeprovider import refusals
from chat.fakeprovider.directives import Unknown
from chat.fakeprovider.journal import Journal
from chat.fakeprovider.schedule import Gates, Script, read_entry
from chat.fakeprovider.wire import Request


class Control:
    """Answers everything outside `/v1/`."""

    def __init__(self, journal: Journal, script: Script, gates: Gates, text_for: Callable[..., str]) -> None:
        self._journal = journal
        self._script = script
        self._gates = gates
        self._text_for = text_for
        self._routes: dict[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "/healthz"): lambda request: {"status": "ok"},
            ("GET", "/control/script"): lambda request: self._arranged(),
            ("POST", "/control/script"): self._arrange,
            ("DELETE", "/control/script"): lambda request: self._forget(),
            ("GET", "/control/requests"): lambda request: self._records(),
            ("DELETE", "/control/requests"): lambda request: self._clear(),
            ("POST", "/control/release"): self._release,
            ("POST", "/control/text"): self._text,
        }

    def handle(self, request: Request) -> tuple[int, object]:
        route = self._routes.get((request.method, request.path))
        if not route:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            return 404, refusals.error(404, f"known here are: {known}, and /v1/…")
        try:
            return 200, route(request)
        except Unknown as exc:
            return 400, refusals.error(400, str(exc))

    def _arranged(self) -> dict[str, Any]:
        return {"script": [entry.as_json() for entry in self._script.entries]}

    def _arrange(self, request: Request) -> dict[str, Any]:
        """Take JSON (an entry or a list of them), or a bare directive with the rest in the query string."""
        found = request.json()
        if found is None:
            found = {"do": request.body.decode("utf-8", "replace").strip()} | dict(request.query)
        entries = [read_entry(raw) for raw in (found if isinstance(found, list) else [found])]
        for entry in entries:
            self._script.add(entry)
        return self._arranged()

    def _forget(self) -> dict[str, Any]:
        self._script.entries.clear()
        return self._arranged()

    def _records(self) -> dict[str, Any]:
        return {
            "now_s": self._journal.now_s(),
            "requests": [record.as_json() for record in self._journal.records],
        }

    def _clear(self) -> dict[str, Any]:
        self._journal.clear()
        self._gates.shut()
        return self._records()

    def _release(self, request: Request) -> dict[str, Any]:
        asked = request.json()
        gate = request.query.get("gate") or (asked.get("gate") if isinstance(asked, dict) else None)
        if not isinstance(gate, str):
            raise Unknown('name the gate: {"gate": "name"} or ?gate=name')
        self._gates.release(gate)
        return {"released": gate}

    def _text(self, request: Request) -> dict[str, str]:
        """Say what a model would answer to a message: {"text": …, "model": …}."""
        asked = request.json()
        if not isinstance(asked, dict):
            raise Unknown('{"text": "the message", "model": "fake"} is needed')
        return {"text": self._text_for(str(asked.get("text", "")), str(asked.get("model", "fake")))}
