"""What needs attention, on the front page: each line leads to its place. Four queries at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.models import Assignment, Endpoint, Mark, Process, key_variable


@dataclass(frozen=True, slots=True)
class AttentionLine:
    """`kind`: `failed` needs somebody now, `queued` is work to do."""

    text: str
    url: str
    kind: str = "queued"


def attention_of(request: HttpRequest, failed_today: int) -> list[AttentionLine]:
    """Return the lines that the user may act on. `failed_today`: answers, of all users and models."""
    user = request.user
    lines: list[AttentionLine] = []
    if user.has_perm("chat.view_process"):
        lines += _breakers()
    if user.has_perm("chat.view_endpoint"):
        lines += _endpoints(may_connect=user.has_perms(["chat.add_endpoint", "chat.add_model"]))
    if user.has_perm("chat.view_generation"):
        lines += _failed(failed_today)
    if user.has_perm("chat.view_conversation"):
        lines += _flagged()
        lines += _queue(user.pk) if user.has_perm("chat.review_conversation") else ()
    return lines


def _breakers() -> Iterator[AttentionLine]:
    """Models that are not called: what the processes say, each model once."""
    url = reverse("admin:chat_process_operations")
    states: dict[str, bool] = {}
    for status in Process.objects.values_list("status", flat=True):
        for breaker in status.get("breakers", ()):
            if breaker["state"] != "closed":
                states[breaker["model"]] = states.get(breaker["model"], False) or breaker["is_held"]
    for model, is_held in sorted(states.items()):
        text = _("%(model)s is switched off.") if is_held else _("%(model)s keeps failing and is paused.")
        yield AttentionLine(text % {"model": model}, url, "failed")


def _endpoints(*, may_connect: bool) -> Iterator[AttentionLine]:
    endpoints = [each for each in Endpoint.objects.filter(is_enabled=True) if not each.is_embedded]
    if not endpoints and may_connect:
        text = _("Only the demo model answers. Connect a real one.")
        yield AttentionLine(text, reverse("admin:chat_endpoint_connect"))
    for endpoint in endpoints:
        name = endpoint.api_key_env
        if name and not key_variable.key_of(name):
            text = _("The key of %(endpoint)s is missing: the server has no %(name)s.")
            url = reverse("admin:chat_endpoint_change", args=[endpoint.pk])
            yield AttentionLine(text % {"endpoint": endpoint.name, "name": name}, url, "failed")


def _failed(count: int) -> Iterator[AttentionLine]:
    if count:
        text = ngettext("%(count)d answer failed today.", "%(count)d answers failed today.", count)
        query = {"since": f"{timezone.localtime():%Y-%m-%d}", "what": "failed"}
        url = reverse("admin:chat_generation_changelist", query=query)
        yield AttentionLine(text % {"count": count}, url, "failed")


def _flagged() -> Iterator[AttentionLine]:
    count = Mark.objects.open_flags().order_by().values("conversation").distinct().count()
    if count:
        text = ngettext("%(count)d conversation is flagged.", "%(count)d conversations are flagged.", count)
        url = reverse("admin:chat_conversation_changelist", query={"review": "flagged"})
        yield AttentionLine(text % {"count": count}, url)


def _queue(user_id: int | None) -> Iterator[AttentionLine]:
    count = Assignment.objects.to_do().filter(reviewer=user_id, conversation__erasure=None).count()
    if count:
        text = ngettext(
            "%(count)d conversation is in your queue.", "%(count)d conversations are in your queue.", count
        )
        yield AttentionLine(text % {"count": count}, reverse("admin:chat_conversation_queue"))
