"""The control API: schedule faults, release gates, read the log."""

from collections.abc import Callable
from typing import Any

from chat.fakeprovider import error_bodies
from chat.fakeprovider.connection import ProviderRequest
from chat.fakeprovider.directives import UnknownDirective
from chat.fakeprovider.journal import Journal
from chat.fakeprovider.schedule import Gates, Schedule, parse_scheduled

MODELS = "/v1/models"


class ControlApi:
    """Handle all requests outside `/v1/`."""

    def __init__(
        self, journal: Journal, schedule: Schedule, gates: Gates, text_for: Callable[..., str]
    ) -> None:
        self._journal = journal
        self._schedule = schedule
        self._gates = gates
        self._text_for = text_for
        self._routes: dict[tuple[str, str], Callable[[ProviderRequest], object]] = {
            ("GET", "/healthz"): lambda request: {"status": "ok"},
            ("GET", "/control/script"): lambda request: self._scheduled(),
            ("POST", "/control/script"): self._add,
            ("DELETE", "/control/script"): lambda request: self._clear_schedule(),
            ("GET", "/control/requests"): lambda request: self._records(),
            ("GET", "/control/body"): self._body,
            ("DELETE", "/control/requests"): lambda request: self._clear_requests(),
            ("POST", "/control/release"): self._release,
            ("POST", "/control/text"): self._text,
        }

    def handle(self, request: ProviderRequest) -> tuple[int, object]:
        route = self._routes.get((request.method, request.path))
        if not route:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            return 404, error_bodies.error(404, f"known routes: {known}, and /v1/…")
        try:
            return 200, route(request)
        except UnknownDirective as exc:
            return 400, error_bodies.error(400, str(exc))

    def _scheduled(self) -> dict[str, Any]:
        return {"script": [fault.as_json() for fault in self._schedule.faults]}

    def _add(self, request: ProviderRequest) -> dict[str, Any]:
        """Accept JSON (an object or a list), or a bare directive with other fields in the query string."""
        body = request.json()
        if body is None:
            body = {"do": request.body.decode("utf-8", "replace").strip()} | dict(request.query)
        faults = [parse_scheduled(raw) for raw in (body if isinstance(body, list) else [body])]
        for fault in faults:
            self._schedule.add(fault)
        return self._scheduled()

    def _clear_schedule(self) -> dict[str, Any]:
        self._schedule.faults.clear()
        return self._scheduled()

    def _records(self) -> dict[str, Any]:
        return {
            "now_s": self._journal.now_s(),
            # A list of models costs nothing, and is read at any time.
            "requests": [record.as_json() for record in self._journal.records if record.path != MODELS],
        }

    def _body(self, request: ProviderRequest) -> dict[str, Any]:
        """Return the body of the request with the `id` of the query string; without one, of the last one."""
        wanted = request.query.get("id")
        bodies = {record.id: record.body for record in self._journal.records if record.body is not None}
        if not bodies or (wanted is not None and wanted not in bodies):
            raise UnknownDirective("no request with this id has a body")
        return {"body": bodies[wanted] if wanted is not None else list(bodies.values())[-1]}

    def _clear_requests(self) -> dict[str, Any]:
        self._journal.clear()
        self._gates.close_all()
        return self._records()

    def _release(self, request: ProviderRequest) -> dict[str, Any]:
        body = request.json()
        gate = request.query.get("gate") or (body.get("gate") if isinstance(body, dict) else None)
        if not isinstance(gate, str):
            raise UnknownDirective('the name of the gate is missing: {"gate": "name"} or ?gate=name')
        self._gates.release(gate)
        return {"released": gate}

    def _text(self, request: ProviderRequest) -> dict[str, str]:
        """Return what a model would answer to a message: {"text": …, "model": …}."""
        body = request.json()
        if not isinstance(body, dict):
            raise UnknownDirective('expected {"text": "the message", "model": "fake"}')
        return {"text": self._text_for(str(body.get("text", "")), str(body.get("model", "fake")))}
