"""The operations page: the status of every process and model, and actions that reach all processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.admin.formatting import NOTHING, ago, number, seconds, state
from chat.admin.limits import LimitRow, limit_rows
from chat.models import BreakerOverride, Generation, Model, Process
from chat.runtime.process import current_runtime

# By (endpoint name, model name).
type Overrides = dict[tuple[str, str], BreakerOverride]


def may_operate(user: AbstractUser | AnonymousUser) -> bool:
    """Return whether a user may use the buttons: the permission to change processes."""
    return user.has_perm("chat.change_process")


@dataclass(frozen=True, slots=True)
class ModelRow:
    model: str
    endpoint: str
    is_held: bool
    override: str


@dataclass(frozen=True, slots=True)
class BreakerRow:
    model: str
    endpoint: str
    state: str
    next_probe: str
    waiting: str
    held_by: str


@dataclass(frozen=True, slots=True)
class EndpointRow:
    endpoint: str
    slots: str
    queued: str
    pause: str


@dataclass(frozen=True, slots=True)
class GenerationRow:
    id: int
    model: str
    since: str
    is_stopping: bool


@dataclass(frozen=True, slots=True)
class ProcessSection:
    """A process, from its row. `more`: the number of running generations that the row does not list."""

    id: str
    name: str
    kind: str
    url: str
    version: str
    seen: str
    running: int
    sockets: int
    more: int
    breakers: list[BreakerRow]
    endpoints: list[EndpointRow]
    generations: list[GenerationRow]


@dataclass(frozen=True, slots=True)
class Operations:
    models: list[ModelRow]
    limits: list[LimitRow]
    processes: list[ProcessSection]


def operations() -> Operations:
    """Read the page. Five queries, for any number of processes, models and generations."""
    overrides: Overrides = {
        (row.endpoint_name, row.model_name): row for row in BreakerOverride.objects.select_related("by")
    }
    processes = list(Process.objects.all())
    running = [each["id"] for process in processes for each in process.status.get("generations", ())]
    stopping = Generation.objects.filter(pk__in=running).exclude(stop_requested_at=None)
    stopping_ids = set(stopping.values_list("pk", flat=True))
    return Operations(
        [_model_row(*key, overrides.get(key)) for key in sorted(_known_models(processes, overrides))],
        limit_rows(),
        [_process_section(process, overrides, stopping_ids) for process in processes],
    )


def _known_models(processes: list[Process], overrides: Overrides) -> set[tuple[str, str]]:
    """Return the enabled models, those with a breaker, and those that are forced open."""
    known = set(Model.objects.filter(is_enabled=True).values_list("endpoint__name", "name"))
    known |= {key for key, row in overrides.items() if row.is_held}
    breakers = (each for process in processes for each in process.status.get("breakers", ()))
    return known | {(each["endpoint"], each["model"]) for each in breakers}


def _model_row(endpoint: str, model: str, override: BreakerOverride | None) -> ModelRow:
    if override is None:
        return ModelRow(model, endpoint, is_held=False, override=NOTHING)
    label = _("forced open") if override.is_held else _("closed")
    shown = state("open" if override.is_held else "closed", label)
    return ModelRow(model, endpoint, override.is_held, format_html("{} {}", shown, _signature(override)))


def _signature(override: BreakerOverride) -> str:
    """Return the operator's name and the time of an override."""
    return ago(override.at, by=str(override.by or _("deleted user")))


def _process_section(process: Process, overrides: Overrides, stopping_ids: set[int]) -> ProcessSection:
    status: dict[str, Any] = process.status
    listed = status.get("generations", [])
    running = status.get("running", 0)
    return ProcessSection(
        id=process.pk,
        name=str(process),
        kind=process.get_kind_display(),
        url=process.url,
        version=process.version,
        seen=ago(process.seen_at),
        running=running,
        sockets=status.get("sockets", 0),
        more=max(0, running - len(listed)),
        breakers=[_breaker_row(each, overrides) for each in status.get("breakers", ())],
        endpoints=[_endpoint_row(each) for each in status.get("endpoints", ())],
        generations=[_generation_row(each, stopping_ids) for each in listed],
    )


def _breaker_row(breaker: dict[str, Any], overrides: Overrides) -> BreakerRow:
    labels = {"closed": _("closed"), "open": _("open"), "half_open": _("half open")}
    override = overrides.get((breaker["endpoint"], breaker["model"]))
    is_waiting = breaker["state"] != "closed" and breaker["wait_s"] is not None
    return BreakerRow(
        model=breaker["model"],
        endpoint=breaker["endpoint"],
        state=state(breaker["state"], labels.get(breaker["state"], breaker["state"])),
        next_probe=seconds(breaker["wait_s"]) if is_waiting else NOTHING,
        waiting=number(breaker["waiting"]),
        held_by=_signature(override) if breaker["is_held"] and override is not None else NOTHING,
    )


def _endpoint_row(endpoint: dict[str, Any]) -> EndpointRow:
    labels = {"interactive": _("interactive"), "api": _("API"), "bulk": _("bulk")}
    # By priority, highest first; a JSON column of PostgreSQL does not keep the order.
    waiting = endpoint["waiting"]
    queued = ", ".join(f"{label} {waiting[name]}" for name, label in labels.items() if waiting.get(name))
    return EndpointRow(
        endpoint=endpoint["endpoint"],
        slots=_slots(endpoint),
        queued=queued or NOTHING,
        pause=seconds(endpoint["paused_s"]) if endpoint["paused_s"] else NOTHING,
    )


def _slots(endpoint: dict[str, Any]) -> str:
    if endpoint.get("processes", 1) == 1:  # older releases do not report `processes`
        return number(f"{endpoint['running']} / {endpoint['slots']}")
    if endpoint["in_use"] is None:
        text = _("%(running)d of %(limit)d here; %(slots)d shared by %(processes)d processes")
    else:
        text = _("%(running)d here, %(in_use)d of %(slots)d in total, shared by %(processes)d processes")
    return text % endpoint


def _generation_row(generation: dict[str, Any], stopping_ids: set[int]) -> GenerationRow:
    since = datetime.fromisoformat(generation["since"]) if generation["since"] else None
    return GenerationRow(generation["id"], generation["model"], ago(since), generation["id"] in stopping_ids)


class OperationForm(forms.Form):
    """The data of one button of the page."""

    action = forms.ChoiceField(choices=[(action, action) for action in ("hold_open", "close", "stop")])
    endpoint = forms.CharField(max_length=80, required=False)
    model = forms.CharField(max_length=200, required=False)
    generation = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        required = ["generation"] if data.get("action") == "stop" else ["endpoint", "model"]
        for name in required:
            if not data.get(name):
                self.add_error(name, _("This field is required."))
        return data

    def apply(self, operator: AbstractUser) -> str:
        """Carry out the action for all processes. Return a message for the operator."""
        data = self.cleaned_data
        if data["action"] == "stop":
            return request_stop(data["generation"])
        override = BreakerOverride.hold_open if data["action"] == "hold_open" else BreakerOverride.close
        current_runtime().writer.run(lambda: override(data["endpoint"], data["model"], by=operator))
        if data["action"] == "hold_open":
            return _("Breaker of %(model)s forced open: no calls until it is closed.") % data
        return _("Breaker of %(model)s closed: calls are allowed.") % data


def request_stop(*ids: int) -> str:
    """Request a stop of generations of any users. Return a message for the operator."""
    count = current_runtime().writer.run(lambda: Generation.objects.filter(pk__in=ids).request_stop())
    if not count:
        return _("Already finished.")
    message = ngettext(
        "Stop requested for %(count)d generation.", "Stop requested for %(count)d generations.", count
    )
    return message % {"count": count}
