"""The navigation of the admin: by task, with the pages that the user may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise


@dataclass(frozen=True, slots=True)
class NavigationLink:
    """A page. `permission`: what it takes to see it."""

    name: StrPromise
    url_name: str
    permission: str
    icon: str


@dataclass(frozen=True, slots=True)
class NavigationItem:
    name: str
    url: str
    icon: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class NavigationSection:
    name: str
    items: list[NavigationItem]


TASKS: list[tuple[StrPromise, list[NavigationLink]]] = [
    (
        _("Review"),
        [
            NavigationLink(
                _("Conversations"), "chat_conversation_changelist", "chat.view_conversation", "talk"
            ),
            NavigationLink(_("My queue"), "chat_conversation_queue", "chat.review_conversation", "queue"),
            NavigationLink(_("Answers"), "chat_generation_changelist", "chat.view_generation", "answer"),
            NavigationLink(_("Feedback"), "chat_feedback_changelist", "chat.view_feedback", "thumb"),
            NavigationLink(_("Comparisons"), "chat_comparison_changelist", "chat.view_feedback", "balance"),
            NavigationLink(
                _("Agreement"), "chat_conversation_agreement", "chat.review_conversation", "balance"
            ),
            NavigationLink(_("Access log"), "chat_accessrecord_changelist", "chat.view_accessrecord", "eye"),
        ],
    ),
    (
        _("People"),
        [
            NavigationLink(_("Users"), "auth_user_changelist", "auth.view_user", "person"),
            NavigationLink(_("Groups"), "auth_group_changelist", "auth.view_group", "people"),
            NavigationLink(_("API keys"), "chat_apikey_changelist", "chat.view_apikey", "key"),
        ],
    ),
    (
        _("Models"),
        [
            NavigationLink(_("Models"), "chat_model_changelist", "chat.view_model", "model"),
            NavigationLink(_("Endpoints"), "chat_endpoint_changelist", "chat.view_endpoint", "server"),
            NavigationLink(_("Shared presets"), "chat_preset_changelist", "chat.view_preset", "list"),
            NavigationLink(
                _("Shared prompts"), "chat_savedprompt_changelist", "chat.view_savedprompt", "list"
            ),
        ],
    ),
    (
        _("Usage"),
        [
            NavigationLink(_("Usage"), "chat_hourlyusage_changelist", "chat.view_hourlyusage", "chart"),
            NavigationLink(_("Budgets"), "chat_budget_changelist", "chat.view_budget", "balance"),
        ],
    ),
    (
        _("Operations"),
        [
            NavigationLink(_("Live"), "chat_process_operations", "chat.view_process", "pulse"),
            NavigationLink(_("Execution patterns"), "chat_process_patterns", "chat.view_process", "chart"),
            NavigationLink(_("Batches"), "chat_batch_changelist", "chat.view_batch", "list"),
            NavigationLink(_("Processes"), "chat_process_changelist", "chat.view_process", "server"),
            NavigationLink(_("Calls"), "chat_attempt_changelist", "chat.view_attempt", "call"),
            NavigationLink(
                _("Embeddings"), "chat_embeddingcall_changelist", "chat.view_embeddingcall", "chart"
            ),
            NavigationLink(_("Webhooks"), "chat_webhook_changelist", "chat.view_webhook", "hook"),
            NavigationLink(
                _("Webhook endpoints"),
                "chat_webhookendpoint_changelist",
                "chat.view_webhookendpoint",
                "hook",
            ),
        ],
    ),
    (
        _("Settings"),
        [
            NavigationLink(_("Labels"), "chat_label_changelist", "chat.view_label", "label"),
            NavigationLink(_("Rubric"), "chat_criterion_changelist", "chat.view_criterion", "list"),
            NavigationLink(
                _("Retention"), "chat_retentionpolicy_changelist", "chat.view_retentionpolicy", "list"
            ),
            NavigationLink(_("Legal holds"), "chat_legalhold_changelist", "chat.view_legalhold", "eye"),
            NavigationLink(
                _("What was erased"), "chat_retentionreport_changelist", "chat.view_retentionreport", "list"
            ),
        ],
    ),
]


def sections(request: HttpRequest) -> list[NavigationSection]:
    """Return the sections with pages that the user of a request may see."""
    found = []
    for name, links in TASKS:
        items = [_item(request, link) for link in links if request.user.has_perm(link.permission)]
        if items:
            found.append(NavigationSection(str(name), items))
    return found


def _item(request: HttpRequest, link: NavigationLink) -> NavigationItem:
    url = reverse(f"admin:{link.url_name}")
    is_list = link.url_name.endswith("_changelist")
    # The page of a row belongs to its list, unless it is a page with an entry of its own.
    is_current = request.path == url or (
        is_list and request.path.startswith(url) and request.path not in _own_pages()
    )
    return NavigationItem(str(link.name), url, link.icon, is_current)


def _own_pages() -> set[str]:
    names = [link.url_name for _name, links in TASKS for link in links]
    return {reverse(f"admin:{name}") for name in names if not name.endswith("_changelist")}
