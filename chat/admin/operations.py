"""The operators' page: how every process and every model is, and three words to say to them all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from chat.admin.logs import NOTHING, ago, number, seconds, state
from chat.generation import routing
from chat.models import BreakerOverride, Endpoint, Generation, Model, Process
from chat.runtime.process import current_runtime


def may_operate(user: AbstractUser | AnonymousUser) -> bool:
    """Say whether somebody may tell processes what to do: whoever may change them."""
    return user.has_perm("chat.change_process")


@dataclass(frozen=True, slots=True)
class ModelLine:
    model: str
    endpoint: str
    is_held: bool
    word: str


@dataclass(frozen=True, slots=True)
class BreakerLine:
    model: str
    endpoint: str
    state: str
    wait: str
    waiting: str
    held_by: str


@dataclass(frozen=True, slots=True)
class EndpointLine:
    endpoint: str
    slots: str
    line: str
    pause: str


@dataclass(frozen=True, slots=True)
class GenerationLine:
    id: int
    model: str
    since: str
    is_stopping: bool


@dataclass(frozen=True, slots=True)
class ProcessBlock:
    """One process, from its row; `more`: running generations that its row does not list."""

    id: str
    name: str
    kind: str
    url: str
    seen: str
    running: int
    sockets: int
    more: int
    breakers: list[BreakerLine]
    endpoints: list[EndpointLine]
    generations: list[GenerationLine]


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit: of what, whose it is, how high it is now, and where to change it."""

    of: str
    name: str
    value: str
    where: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Operations:
    models: list[ModelLine]
    limits: list[LimitLine]
    processes: list[ProcessBlock]


def operations() -> Operations:
    """Read the page: five queries, however many processes, models and generations there are."""
    words = {(row.endpoint_name, row.model_name): row for row in BreakerOverride.objects.select_related("by")}
    processes = list(Process.objects.all())
    running = [each["id"] for process in processes for each in process.status.get("generations", ())]
    stopping = set(
        Generation.objects.filter(pk__in=running).exclude(stop_requested_at=None).values_list("pk", flat=True)
    )
    known = set(Model.objects.filter(is_enabled=True).values_list("endpoint__name", "name"))
    known |= {key for key, row in words.items() if row.is_held}
    known |= {
        (each["endpoint"], each["model"])
        for process in processes
        for each in process.status.get("breakers", ())
    }
    return Operations(
        [_model_line(endpoint, model, words.get((endpoint, model))) for endpoint, model in sorted(known)],
        _limits(),
        [_process_block(process, words, stopping) for process in processes],
    )


def _limits() -> list[LimitLine]:
    """Return the limits of how much runs at once, by what they are for, with where each is changed."""
    per_endpoint, per_person, per_key = _("per endpoint"), _("per person"), _("per API key")
    return [
        *(
            LimitLine(
                per_endpoint,
                _("slots of %(endpoint)s") % {"endpoint": endpoint},
                number(endpoint.slots),
                _("its page"),
                reverse("admin:chat_endpoint_change", args=[endpoint.pk]),
            )
            for endpoint in Endpoint.objects.filter(is_enabled=True)
        ),
        LimitLine(
            per_endpoint,
            _("queue"),
            number(routing.QUEUE_MAX),
            _("fixed"),
        ),
        LimitLine(
            per_person, _("answers at once"), number(settings.RUNNING_PER_USER), "CHATSITE_RUNNING_PER_USER"
        ),
        LimitLine(
            per_person, _("questions a minute"), number(settings.ASKS_PER_MINUTE), "CHATSITE_ASKS_PER_MINUTE"
        ),
        LimitLine(
            per_person,
            _("answers at once, of all keys"),
            number(settings.API_RUNNING_PER_USER),
            "CHATSITE_API_RUNNING_PER_USER",
        ),
        LimitLine(
            per_key,
            _("answers at once, where its page says nothing else"),
            number(settings.RUNNING_PER_KEY),
            "CHATSITE_RUNNING_PER_KEY",
        ),
        LimitLine(
            per_key,
            _("requests a minute"),
            number(settings.ASKS_PER_MINUTE_PER_KEY),
            "CHATSITE_ASKS_PER_MINUTE_PER_KEY",
        ),
    ]


def _model_line(endpoint: str, model: str, override: BreakerOverride | None) -> ModelLine:
    if override is None:
        return ModelLine(model, endpoint, is_held=False, word=NOTHING)
    label = _("held open") if override.is_held else _("closed")
    word = format_html("{} {}", state("open" if override.is_held else "closed", label), _said(override))
    return ModelLine(model, endpoint, override.is_held, word)


def _said(override: BreakerOverride) -> str:
    return ago(override.at, by=str(override.by or _("somebody who is gone")))


def _process_block(
    process: Process, words: dict[tuple[str, str], BreakerOverride], stopping: set[int]
) -> ProcessBlock:
    status: dict[str, Any] = process.status
    listed = status.get("generations", [])
    running = status.get("running", 0)
    return ProcessBlock(
        id=process.pk,
        name=str(process),
        kind=process.get_kind_display(),
        url=process.url,
        seen=ago(process.seen_at),
        running=running,
        sockets=status.get("sockets", 0),
        more=max(0, running - len(listed)),
        breakers=[_breaker_line(each, words) for each in status.get("breakers", ())],
        endpoints=[_endpoint_line(each) for each in status.get("endpoints", ())],
        generations=[_generation_line(each, stopping) for each in listed],
    )


def _breaker_line(told: dict[str, Any], words: dict[tuple[str, str], BreakerOverride]) -> BreakerLine:
    labels = {"closed": _("closed"), "open": _("open"), "half_open": _("half open")}
    override = words.get((told["endpoint"], told["model"]))
    return BreakerLine(
        model=told["model"],
        endpoint=told["endpoint"],
        state=state(told["state"], labels.get(told["state"], told["state"])),
        wait=NOTHING if told["state"] == "closed" or told["wait_s"] is None else seconds(told["wait_s"]),
        waiting=number(told["waiting"]),
        held_by=_said(override) if told["is_held"] and override is not None else NOTHING,
    )


def _endpoint_line(told: dict[str, Any]) -> EndpointLine:
    labels = {"interactive": _("interactive"), "api": _("API"), "bulk": _("bulk")}
    # In the order of their turns; a JSON column of PostgreSQL does not keep it.
    waiting = told["waiting"]
    line = ", ".join(f"{words} {waiting[name]}" for name, words in labels.items() if waiting.get(name))
    return EndpointLine(
        endpoint=told["endpoint"],
        slots=_slots(told),
        line=line or NOTHING,
        pause=seconds(told["paused_s"]) if told["paused_s"] else NOTHING,
    )


def _slots(told: dict[str, Any]) -> str:
    if told.get("processes", 1) == 1:  # a process of an older release does not tell
        return number(f"{told['running']} / {told['slots']}")
    if told["in_use"] is None:
        return _("%(running)d of %(limit)d here; %(slots)d are shared by %(processes)d processes") % told
    return _("%(running)d here, %(in_use)d of %(slots)d in all; shared by %(processes)d processes") % told


def _generation_line(told: dict[str, Any], stopping: set[int]) -> GenerationLine:
    since = datetime.fromisoformat(told["since"]) if told["since"] else None
    return GenerationLine(told["id"], told["model"], ago(since), told["id"] in stopping)


class WordForm(forms.Form):
    """One of the page's buttons."""

    action = forms.ChoiceField(choices=[(word, word) for word in ("hold_open", "close", "stop")])
    endpoint = forms.CharField(max_length=80, required=False)
    model = forms.CharField(max_length=200, required=False)
    generation = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)

    def clean(self) -> dict[str, Any]:
        found = self.cleaned_data
        needed = ["generation"] if found.get("action") == "stop" else ["endpoint", "model"]
        for name in needed:
            if not found.get(name):
                self.add_error(name, _("It is missing."))
        return found

    def say(self, operator: AbstractUser) -> str:
        """Tell all processes; return what was said, in words for the operator."""
        said = self.cleaned_data
        if said["action"] == "stop":
            return stop(said["generation"])
        verb = BreakerOverride.hold_open if said["action"] == "hold_open" else BreakerOverride.close
        current_runtime().writer.run(lambda: verb(said["endpoint"], said["model"], by=operator))
        if said["action"] == "hold_open":
            return _("Held open: no call is made to %(model)s until somebody closes it.") % said
        return _("Closed: calls to %(model)s go through.") % said


def stop(*ids: int) -> str:
    """Ask for the end of anybody's generations; return what came of it, in words."""
    count = current_runtime().writer.run(lambda: Generation.objects.filter(pk__in=ids).request_stop())
    if not count:
        return _("Nothing to stop: it had ended.")
    return _("Asked to stop: %(count)d.") % {"count": count}
