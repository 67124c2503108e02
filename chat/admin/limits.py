"""The current limits, as the operations page lists them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from chat.admin.formatting import number
from chat.generation import routing
from chat.models import Endpoint


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit: what it applies to, its name and value, and where to change it."""

    scope: str
    name: str
    value: str
    changed_in: str
    url: str = ""


def limit_rows() -> list[LimitRow]:
    """Return all limits of concurrency and rate. One query."""
    return [*_endpoint_rows(), *_user_rows(), *_key_rows()]


def _endpoint_rows() -> list[LimitRow]:
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
    return [*slots, LimitRow(scope, _("queue length"), number(routing.QUEUE_MAX), "")]


def _user_rows() -> list[LimitRow]:
    scope = _("per user")
    return [
        _setting_row(scope, _("running answers"), "RUNNING_PER_USER"),
        _setting_row(scope, _("messages per minute"), "ASKS_PER_MINUTE"),
        _setting_row(scope, _("concurrent requests of all API keys"), "API_RUNNING_PER_USER"),
    ]


def _key_rows() -> list[LimitRow]:
    scope = _("per API key")
    return [
        _setting_row(scope, _("concurrent requests, unless the key has its own limit"), "RUNNING_PER_KEY"),
        _setting_row(scope, _("requests per minute"), "ASKS_PER_MINUTE_PER_KEY"),
    ]


def _setting_row(scope: str, name: str, setting: str) -> LimitRow:
    return LimitRow(scope, name, number(getattr(settings, setting)), f"CHATSITE_{setting}")
