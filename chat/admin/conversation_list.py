"""The list in which reviewers find conversations: filters, search with snippets, saved views, samples."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin, ShowFacets, display
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import search
from chat.admin.conversation_filters import FILTERS
from chat.admin.logs import COUNT_MAX, EMPTY_VALUE, ago, number, seconds, state
from chat.admin.masked import shown_text
from chat.models import Conversation, SavedView
from chat.models.saved_view import NAME_MAX_CHARS, QUERY_MAX_CHARS, SAMPLE_MAX, draw
from chat.review import access
from chat.text import plain_line

# What a sample is drawn from, of a longer list the first ones in its order.
DRAWN_FROM_MAX = 100_000
VIEWS_SHOWN = 20
# What of an address is no part of a view.
NOT_SAVED = (PAGE_VAR, "_changelist_filters", "e")
LIST = "admin:chat_conversation_changelist"
# From the worst to the best: the field of the summary, the state whose colour it has, the words.
OUTCOMES = [
    ("has_failed", "failed", gettext_lazy("failed")),
    ("has_interrupted", "interrupted", gettext_lazy("interrupted")),
    ("has_refused", "interrupted", gettext_lazy("filtered")),
    ("has_recovered", "recovered", gettext_lazy("recovered")),
    ("has_slow", "recovered", gettext_lazy("slow")),
    ("messages_count", "completed", gettext_lazy("completed")),
]


class SampleForm(forms.Form):
    """How many conversations to draw, and how many at most of each model, user or language."""

    GROUPS = {"": None, "model": "model_id", "user": "user_id", "language": "summary__language"}
    count = forms.IntegerField(
        label=gettext_lazy("conversations"), min_value=1, max_value=SAMPLE_MAX, initial=20
    )
    per = forms.IntegerField(label=gettext_lazy("at most"), min_value=1, max_value=SAMPLE_MAX, required=False)
    group = forms.ChoiceField(
        label=gettext_lazy("of each"),
        required=False,
        choices=[
            ("", "–"),
            ("model", gettext_lazy("model")),
            ("user", gettext_lazy("user")),
            ("language", gettext_lazy("language")),
        ],
    )


class ViewForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("name"), max_length=NAME_MAX_CHARS)


class ConversationList(ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Adds finding to the admin of conversations."""

    change_list_template = "admin/chat/conversation/change_list.html"
    list_display = (
        *("title_or_default", "user", "outcome", "last_message", "model", "messages_count"),
        *("cost", "duration", "language"),
    )
    list_filter = FILTERS
    # Not the user and the model, which are read apart: a list that is sorted by cost sorts narrow rows.
    list_select_related = ("summary",)
    # Each would be a count of its own.
    show_facets = ShowFacets.NEVER
    search_fields = ("title",)
    search_help_text = gettext_lazy(
        "Words or “phrases” in a title or message, or a username. Case and accents do not matter."
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("sample/", view(self.sample_view), name="chat_conversation_sample"),
            path("views/", view(self.save_view), name="chat_conversation_save_view"),
            path("views/<int:pk>/", view(self.saved_view), name="chat_savedview_open"),
            *super().get_urls(),
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        hits = search.find(term)
        # The page of results marks what was found.
        request.hits = hits  # type: ignore[attr-defined]
        # A subquery for the user would be read for each row; most terms are no username.
        found = Q(pk__in=list(hits.message_of))
        users = list(self._users_named(term))
        return queryset.filter(found | Q(user__in=users) if users else found), False

    def _users_named(self, term: str) -> QuerySet[Any, int]:
        users = Conversation._meta.get_field("user").related_model._default_manager
        return users.filter(username__icontains=term).values_list("pk", flat=True)[:1000]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        hits = getattr(request, "hits", None)
        if hits is not None:
            cuts = search.snippets(hits, [row.pk for row in found.result_list])
            for row in found.result_list:
                row.hits, row.cut = hits, cuts.get(row.pk, "")
        return found

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            views = list(SavedView.objects.order_by("-pk")[: 2 * VIEWS_SHOWN])
            context |= {
                "hits": getattr(request, "hits", None),
                "hits_max": search.HITS_MAX,
                "is_count_cut": context["cl"].result_count >= COUNT_MAX,
                "saved_views": [view for view in views if view.sample is None],
                "samples": [view for view in views if view.sample is not None],
                "view_form": ViewForm(),
                "sample_form": SampleForm(),
                "saved_query": _query_of(request),
            }
        return response

    def sample_view(self, request: HttpRequest) -> HttpResponse:
        """Draw a sample of the list that the address filters, keep it, and show it."""
        user = self._post_of(request)
        form = SampleForm(request.POST)
        if not form.is_valid():
            return self._refused(request, form)
        if words := request.GET.get("q", "").strip():
            access.record_search(request, words, table="sample")
        values = form.cleaned_data
        column = SampleForm.GROUPS[values["group"]]
        rows = self.get_changelist_instance(request).queryset
        pairs = rows.values_list("pk", column or "pk")[:DRAWN_FROM_MAX]
        drawn = draw(pairs, values["count"], values["per"] if column else None)
        if not drawn:
            messages.warning(request, _("There is nothing in this list to draw from."))
            return HttpResponseRedirect(reverse(LIST, query=request.GET))
        name = _("%(count)d at random, %(time)s") % {
            "count": len(drawn),
            "time": timezone.localtime().strftime("%Y-%m-%d %H:%M"),
        }
        sample = [pk.hex for pk in drawn]
        view = SavedView.objects.create(
            name=name,
            query=_query_of(request),
            sample=sample,
            author_id=user.pk,
            author_name=user.get_username(),
        )
        return HttpResponseRedirect(reverse(LIST, query={"sample": view.pk}))

    def save_view(self, request: HttpRequest) -> HttpResponse:
        """Keep the filters, the search and the order of the address under a name."""
        user = self._post_of(request)
        form = ViewForm(request.POST)
        if not form.is_valid():
            return self._refused(request, form)
        query = _query_of(request)
        view = SavedView.objects.create(
            name=form.cleaned_data["name"], query=query, author_id=user.pk, author_name=user.get_username()
        )
        link = request.build_absolute_uri(reverse("admin:chat_savedview_open", args=[view.pk]))
        messages.success(request, _("Saved. The link to share is %(link)s") % {"link": link})
        return HttpResponseRedirect(reverse(LIST) + (f"?{query}" if query else ""))

    def saved_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a saved view; POST deletes it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        view = get_object_or_404(SavedView, pk=pk)
        if request.method == "POST":
            if view.author_id != request.user.pk and not request.user.has_perm("chat.manage_review"):
                raise PermissionDenied
            view.delete()
            return HttpResponseRedirect(reverse(LIST))
        query = f"sample={view.pk}" if view.sample is not None else view.query
        return HttpResponseRedirect(reverse(LIST) + (f"?{query}" if query else ""))

    def _post_of(self, request: HttpRequest) -> AbstractUser:
        if not self.has_view_permission(request) or request.method != "POST":
            raise PermissionDenied
        assert isinstance(request.user, AbstractUser)
        return request.user

    def _refused(self, request: HttpRequest, form: forms.Form) -> HttpResponse:
        for field, errors in form.errors.items():
            messages.error(request, f"{form.fields[field].label}: {' '.join(map(str, errors))}")
        return HttpResponseRedirect(reverse(LIST, query=request.GET))

    @display(description=gettext_lazy("title"), ordering="title")
    def title_or_default(self, conversation: Conversation) -> str:
        title = shown_text(conversation, plain_line(str(conversation)))
        hits = getattr(conversation, "hits", None)
        if hits is None:
            return title
        marked = search.marked(title, hits.terms)
        cut = shown_text(conversation, getattr(conversation, "cut", ""))
        if not cut:
            return marked
        return format_html('{}<span class="snippet">{}</span>', marked, search.marked(cut, hits.terms))

    @display(description=gettext_lazy("status"))
    def outcome(self, conversation: Conversation) -> str:
        """Return the worst that happened to an answer, and whether the user has deleted the conversation."""
        worst = (state(value, str(words)) for name, value, words in OUTCOMES if _summary(conversation, name))
        shown = next(worst, EMPTY_VALUE)
        if conversation.deleted_at is None:
            return shown
        return format_html('{} <span class="chip">{}</span>', shown, _("deleted"))

    @display(description=gettext_lazy("messages"), ordering="summary__messages_count")
    def messages_count(self, conversation: Conversation) -> str:
        return number(_summary(conversation, "messages_count"))

    @display(description=gettext_lazy("cost (USD)"), ordering="summary__cost_usd")
    def cost(self, conversation: Conversation) -> str:
        value = _summary(conversation, "cost_usd")
        return number(f"{value:.4f}" if value else None)

    @display(description=gettext_lazy("duration"), ordering="summary__duration_s")
    def duration(self, conversation: Conversation) -> str:
        return seconds(_summary(conversation, "duration_s"))

    @display(description=gettext_lazy("language"), ordering="summary__language")
    def language(self, conversation: Conversation) -> str:
        return _summary(conversation, "language") or EMPTY_VALUE

    @display(description=gettext_lazy("last message"), ordering="updated_at")
    def last_message(self, conversation: Conversation) -> str:
        return ago(conversation.updated_at)


def _summary(conversation: Conversation, name: str) -> Any:
    return getattr(getattr(conversation, "summary", None), name, None)


def _query_of(request: HttpRequest) -> str:
    """Return the part of the address that says what is listed."""
    query = request.GET.copy()
    for name in NOT_SAVED:
        query.pop(name, None)
    text = query.urlencode()
    return text if len(text) <= QUERY_MAX_CHARS else QueryDict().urlencode()
