"""The contents of the Operations page: models, the status of every process, and limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from chat.admin.logs import EMPTY_VALUE, ago, number, seconds, state
from chat.generation import routing
from chat.models import BreakerOverride, Endpoint, Generation, Model, Process

# By endpoint name and model name.
type Overrides = dict[tuple[str, str], BreakerOverride]


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
    wait: str
    waiting: str
    override: str


@dataclass(frozen=True, slots=True)
class EndpointRow:
    endpoint: str
    slots: str
    queue: str
    pause: str


@dataclass(frozen=True, slots=True)
class GenerationRow:
    id: int
    model: str
    since: str
    is_stopping: bool


@dataclass(frozen=True, slots=True)
class ProcessSection:
    """The status of one process. `more`: how many running generations its status leaves out."""

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
class LimitRow:
    """One limit. `where`: the setting or the page that changes it."""

    scope: str
    name: str
    value: str
    where: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class OperationsPage:
    models: list[ModelRow]
    limits: list[LimitRow]
    processes: list[ProcessSection]


def operations_page() -> OperationsPage:
    """Read the page: five queries for any number of processes, models and generations."""
    overrides = {
        (row.endpoint_name, row.model_name): row for row in BreakerOverride.objects.select_related("by")
    }
    processes = list(Process.objects.all())
    running = [row["id"] for process in processes for row in process.status.get("generations", ())]
    stopping = set(
        Generation.objects.filter(pk__in=running).exclude(stop_requested_at=None).values_list("pk", flat=True)
    )
    models = sorted(_model_keys(processes, overrides))
    return OperationsPage(
        [_model_row(endpoint, model, overrides.get((endpoint, model))) for endpoint, model in models],
        _limits(),
        [_process_section(process, overrides, stopping) for process in processes],
    )


def _model_keys(processes: list[Process], overrides: Overrides) -> set[tuple[str, str]]:
    """Return the enabled models, and those that have a breaker or are switched off."""
    enabled = set(Model.objects.filter(is_enabled=True).values_list("endpoint__name", "name"))
    held = {key for key, override in overrides.items() if override.is_held}
    with_breaker = {
        (breaker["endpoint"], breaker["model"])
        for process in processes
        for breaker in process.status.get("breakers", ())
    }
    return enabled | held | with_breaker


def _limits() -> list[LimitRow]:
    """Return the limits of concurrency and rate, and where each is changed."""
    return [*_endpoint_limits(), *_user_limits(), *_key_limits()]


def _endpoint_limits() -> list[LimitRow]:
    scope = _("per endpoint")
    slots = [
        LimitRow(
            scope,
            _("slots of %(endpoint)s") % {"endpoint": endpoint},
            number(endpoint.slots),
            _("endpoint page"),
            reverse("admin:chat_endpoint_change", args=[endpoint.pk]),
        )
        for endpoint in Endpoint.objects.filter(is_enabled=True)
    ]
    share = _setting_limit(
        scope, _("share of the slots that API and bulk calls leave free"), "INTERACTIVE_SHARE"
    )
    return [
        *slots,
        share,
        LimitRow(scope, _("queued calls"), number(routing.QUEUE_MAX), _("not configurable")),
    ]


def _user_limits() -> list[LimitRow]:
    limits = [
        (_("running answers"), "RUNNING_PER_USER"),
        (_("messages per minute"), "ASKS_PER_MINUTE"),
        (_("concurrent requests of all API keys"), "API_RUNNING_PER_USER"),
    ]
    return [_setting_limit(_("per user"), *limit) for limit in limits]


def _key_limits() -> list[LimitRow]:
    limits = [
        (_("concurrent requests, unless the key has its own limit"), "RUNNING_PER_KEY"),
        (_("requests per minute"), "ASKS_PER_MINUTE_PER_KEY"),
    ]
    return [_setting_limit(_("per API key"), *limit) for limit in limits]


def _setting_limit(scope: str, name: str, setting: str) -> LimitRow:
    return LimitRow(scope, name, number(getattr(settings, setting)), f"CHATSITE_{setting}")


def _model_row(endpoint: str, model: str, override: BreakerOverride | None) -> ModelRow:
    if override is None:
        return ModelRow(model, endpoint, is_held=False, override=EMPTY_VALUE)
    label = _("off") if override.is_held else _("on")
    badge = state("open" if override.is_held else "closed", label)
    return ModelRow(model, endpoint, override.is_held, format_html("{} {}", badge, _by_and_when(override)))


def _by_and_when(override: BreakerOverride) -> str:
    return ago(override.at, by=str(override.by or _("deleted user")))


def _process_section(process: Process, overrides: Overrides, stopping: set[int]) -> ProcessSection:
    # A process of an older release may lack some of these.
    status: dict[str, Any] = process.status
    generations = status.get("generations", [])
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
        more=max(0, running - len(generations)),
        breakers=[_breaker_row(breaker, overrides) for breaker in status.get("breakers", ())],
        endpoints=[_endpoint_row(endpoint) for endpoint in status.get("endpoints", ())],
        generations=[_generation_row(generation, stopping) for generation in generations],
    )


def _breaker_row(breaker: dict[str, Any], overrides: Overrides) -> BreakerRow:
    labels = {"closed": _("closed"), "open": _("open"), "half_open": _("half open")}
    value, wait_s = breaker["state"], breaker["wait_s"]
    override = overrides.get((breaker["endpoint"], breaker["model"]))
    return BreakerRow(
        model=breaker["model"],
        endpoint=breaker["endpoint"],
        state=state(value, labels.get(value, value)),
        wait=EMPTY_VALUE if value == "closed" or wait_s is None else seconds(wait_s),
        waiting=number(breaker["waiting"]),
        override=_by_and_when(override) if breaker["is_held"] and override is not None else EMPTY_VALUE,
    )


def _endpoint_row(endpoint: dict[str, Any]) -> EndpointRow:
    # By priority. A JSON column of PostgreSQL does not keep the order of keys.
    labels = {"interactive": _("interactive"), "api": _("API"), "bulk": _("bulk")}
    waiting = endpoint["waiting"]
    queue = ", ".join(f"{label} {waiting[name]}" for name, label in labels.items() if waiting.get(name))
    return EndpointRow(
        endpoint=endpoint["endpoint"],
        slots=_slots(endpoint),
        queue=queue or EMPTY_VALUE,
        pause=seconds(endpoint["paused_s"]) if endpoint["paused_s"] else EMPTY_VALUE,
    )


def _slots(endpoint: dict[str, Any]) -> str:
    if endpoint.get("processes", 1) == 1:
        return number(f"{endpoint['running']} / {endpoint['slots']}")
    if endpoint["in_use"] is None:
        return (
            _("%(running)d of %(limit)d here; %(processes)d processes share %(slots)d slots, usage unknown")
            % endpoint
        )
    return (
        _("%(running)d here; %(processes)d processes use %(in_use)d of %(slots)d slots in total") % endpoint
    )


def _generation_row(generation: dict[str, Any], stopping: set[int]) -> GenerationRow:
    since = datetime.fromisoformat(generation["since"]) if generation["since"] else None
    pk = generation["id"]
    return GenerationRow(pk, generation["model"], ago(since), pk in stopping)
