"""Endpoints, models and fallbacks, which staff add and change."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.admin.autocomplete import AutocompleteAdmin
from chat.admin.connect import connect_page
from chat.admin.logs import EMPTY_VALUE, StyledAdmin, number, state
from chat.model_check.check import check_model
from chat.models import Endpoint, Fallback, Model, key_variable
from chat.models.prices import PricedModel
from chat.usage import known_prices


@admin.register(Endpoint)
class EndpointAdmin(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "status", "base_url", "key", "slots", "models_link"]
    list_filter = ["is_enabled"]
    search_fields = ["name", "base_url"]
    fieldsets = [
        (None, {"fields": ["name", "kind", "is_enabled"]}),
        (
            _("Connection"),
            {
                "fields": [
                    "base_url",
                    "api_key_env",
                    "key",
                    "slots",
                    "finish_reason_optional",
                    "has_batch_api",
                ]
            },
        ),
        (_("Fallbacks"), {"fields": ["confidentiality"]}),
    ]
    readonly_fields = ["kind", "key"]
    # A form in two steps, beside the rows by hand.
    change_list_template = "admin/chat/endpoint/change_list.html"
    change_form_template = "admin/chat/endpoint/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(lambda request: connect_page(request, self.admin_site))
        return [path("connect/", view, name="chat_endpoint_connect"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        found: QuerySet[Endpoint] = super().get_queryset(request)
        return found.annotate(models_count=Count("models"))

    def get_readonly_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> list[str]:
        # The embedded model gets a new address and key at each start.
        embedded = ["base_url", "api_key_env"] if obj and obj.is_embedded else []
        return [*self.readonly_fields, *embedded]

    @admin.display(description=_("status"), ordering="is_enabled")
    def status(self, endpoint: Endpoint) -> str:
        return switched(endpoint.is_enabled)

    @admin.display(description=_("API key"))
    def key(self, endpoint: Endpoint) -> str:
        """Show whether the variable is set, never its value."""
        if not endpoint.api_key_env:
            return EMPTY_VALUE
        if not key_variable.is_allowed(endpoint.api_key_env):
            return state("failed", _("%(name)s is not allowed") % {"name": endpoint.api_key_env})
        if key_variable.key_of(endpoint.api_key_env):
            return state("completed", _("%(name)s is set") % {"name": endpoint.api_key_env})
        return state("failed", _("%(name)s is not set") % {"name": endpoint.api_key_env})

    @admin.display(description=_("models"), ordering="models_count")
    def models_link(self, endpoint: Endpoint) -> str:
        url = reverse("admin:chat_model_changelist")
        count = getattr(endpoint, "models_count", 0)
        return format_html(
            '<a class="number" href="{}?endpoint__id__exact={}">{}</a>', url, endpoint.pk, count
        )


class FallbackInline(AutocompleteAdmin, admin.TabularInline):  # type: ignore[type-arg]
    model = Fallback
    fk_name = "model"
    extra = 0
    fields = ["position", "fallback"]
    autocomplete_fields = ["fallback"]
    verbose_name_plural = _("fallbacks, tried in this order when the model is unavailable")


# A person waits for the page.
CHECK_LIMIT_S = 60.0


def switched(is_on: bool) -> str:
    return state("completed", gettext("enabled")) if is_on else state("stopped", gettext("switched off"))


@admin.register(Model)
class ModelAdmin(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = [
        "name",
        "status",
        "label",
        "endpoint",
        "context",
        "continuation",
    ]
    list_filter = ["is_enabled", "endpoint"]
    list_select_related = ["endpoint"]
    search_fields = ["name", "label", "endpoint__name"]
    change_list_template = "admin/chat/model/change_list.html"
    change_form_template = "admin/chat/model/change_form.html"
    inlines = [FallbackInline]
    fieldsets = [
        (
            None,
            {"fields": ["endpoint", "name", "label", "is_enabled", "is_default", "writes_titles", "is_demo"]},
        ),
        (
            _("Answers"),
            {
                "fields": [
                    "context_tokens",
                    "max_output_tokens",
                    "continuation",
                    "takes_tools",
                    "sees_images",
                    "makes_images",
                    "refused_parameters",
                    "system_prompt",
                ]
            },
        ),
        (
            _("Timeouts"),
            {
                "description": _("Where a field is empty, the default from the settings applies."),
                "fields": [
                    "connect_timeout_s",
                    "first_token_timeout_s",
                    "stall_timeout_s",
                    "total_timeout_s",
                ],
            },
        ),
        (
            _("Prices"),
            {
                "description": _("A call keeps its cost when prices change."),
                "fields": [*PricedModel.PRICE_FIELDS, "prices_since", "published_prices"],
            },
        ),
    ]
    readonly_fields = ["prices_since", "published_prices"]
    actions = ["use_published_prices"]

    @admin.display(description=_("status"), ordering="is_enabled")
    def status(self, model: Model) -> str:
        marks = [(model.is_default, gettext("default")), (model.is_demo, gettext("demo"))]
        chips = format_html_join(
            " ", '<span class="chip">{}</span>', [[word] for is_set, word in marks if is_set]
        )
        return format_html("{} {}", switched(model.is_enabled), chips)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.check_view)
        return [path("<int:pk>/check/", view, name="chat_model_check"), *super().get_urls()]

    def check_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Offer a check of the model; after POST, run it and show its report."""
        model = get_object_or_404(Model.objects.select_related("endpoint"), pk=pk)
        if not self.has_change_permission(request, model):
            raise PermissionDenied
        report = check_model(model, limit_s=CHECK_LIMIT_S) if request.method == "POST" else None
        context = {
            **self.admin_site.each_context(request),
            "title": _("Check this model"),
            "opts": self.opts,
            "model": model,
            "report": report,
        }
        return TemplateResponse(request, "admin/chat/model/check.html", context)

    @admin.display(description=_("published prices"))
    def published_prices(self, model: Model) -> str:
        """Show what the model's provider publishes, as a proposal."""
        known = known_prices.find(model) if model.pk else None
        if known is None:
            return EMPTY_VALUE
        cached = known.input if known.cached_input is None else known.cached_input
        return _("input $%(input)s, cached input $%(cached)s, output $%(output)s per million tokens") % {
            "input": known.input,
            "cached": cached,
            "output": known.output,
        }

    @admin.action(description=_("Use the published prices"), permissions=["change"])
    def use_published_prices(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        unknown = []
        for model in queryset.select_related("endpoint"):
            known = known_prices.find(model)
            if known is None:
                unknown.append(str(model))
            else:
                known.apply(model)
                model.save()
                self.log_change(request, model, _("Prices set to the published ones."))
                self.message_user(request, _("%(model)s: prices set.") % {"model": model}, messages.SUCCESS)
        if unknown:
            text = _("No published prices are known for: %(models)s. Enter them on the model's page.")
            self.message_user(request, text % {"models": ", ".join(unknown)}, messages.WARNING)

    @admin.display(description=_("context window"), ordering="context_tokens")
    def context(self, model: Model) -> str:
        return number(_("unknown") if model.context_tokens is None else model.context_tokens)
