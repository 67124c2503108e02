"""The catalog: endpoints (a base URL and the name of an API key), their models, and fallbacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import TextChoices  # in Endpoint, `models` is its reverse name
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import key_variable, rows
from chat.models.presence import Presence
from chat.models.prices import PricedModel
from chat.upstream.base_url import ending_of, without_ending

# Clients and servers disagree about where such characters end a host or a path.
_NOT_IN_URL = re.compile(r"[\s\\\x00-\x1f\x7f]")


def validate_base_url(value: str) -> None:
    """Accept http and https URLs with a host, and without credentials, a query or a fragment."""
    if _NOT_IN_URL.search(value):
        raise ValidationError(_("Remove the spaces, backslashes and control characters from the URL."))
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValidationError(_("Enter a URL such as https://api.openai.com/v1."))
    if "@" in parts.netloc:
        raise ValidationError(_("Do not put credentials in the URL. Use an environment variable instead."))
    if "?" in value or "#" in value:
        raise ValidationError(
            _(
                "Remove “?” or “#” and what follows. "
                "If it is a key, put it in an environment variable and name the variable below."
            )
        )
    if ending := ending_of(value):
        raise ValidationError(
            _("Remove “%(ending)s” at the end, which is added for each request: %(base_url)s"),
            params={"ending": ending, "base_url": without_ending(value)},
        )


class Endpoint(models.Model):
    """A server that speaks the OpenAI protocol."""

    class Kind(TextChoices):
        REMOTE = "remote", _("remote server")
        EMBEDDED = "embedded", _("embedded demo model")

    class ExtraParameters(TextChoices):
        PASS = "pass", _("pass on")
        DROP = "drop", _("leave out")
        REFUSE = "refuse", _("refuse the request")

    name = models.CharField(_("name"), max_length=80, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.REMOTE, editable=False)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        blank=True,
        validators=[validate_base_url],
        help_text=_("Up to and including /v1, as in OpenAI client libraries."),
    )
    api_key_env = models.CharField(
        _("API key variable"),
        max_length=80,
        blank=True,
        validators=[
            RegexValidator(
                r"^[A-Z_][A-Z0-9_]*$", _("Enter the name of an environment variable, such as OPENAI_API_KEY.")
            )
        ],
        help_text=_("The environment variable that holds the API key. The key itself is never stored."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    finish_reason_optional = models.BooleanField(
        _("finish reason optional"),
        default=False,
        help_text=_(
            "Accept [DONE] without a finish reason as the end of a complete answer. "
            "Only for servers that never send a finish reason."
        ),
    )
    slots = models.PositiveIntegerField(
        _("slots"),
        default=32,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("Maximum number of concurrent calls."),
    )

    has_batch_api = models.BooleanField(
        _("has a batch API"),
        default=False,
        db_default=False,
        help_text=_("Whether it takes batches, by OpenAI's files and batches API, at a lower price."),
    )
    extra_parameters = models.CharField(
        _("unknown parameters"),
        max_length=10,
        choices=ExtraParameters,
        default=ExtraParameters.PASS,
        db_default=ExtraParameters.PASS,
        help_text=_(
            "What happens to parameters of programs that Chatsite does not know, "
            "such as chat_template_kwargs."
        ),
    )
    confidentiality = models.CharField(
        _("confidentiality class"),
        max_length=40,
        blank=True,
        db_default="",
        help_text=_(
            "Any name, for example “in house”. "
            "A request never falls back to an endpoint of a different class."
        ),
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_embedded(self) -> bool:
        return self.kind == self.Kind.EMBEDDED

    def clean(self) -> None:
        if not self.is_embedded and not self.base_url:
            raise ValidationError({"base_url": _("Enter a URL such as https://api.openai.com/v1.")})
        if self.api_key_env and not key_variable.is_allowed(self.api_key_env):
            raise ValidationError(
                {
                    "api_key_env": _(
                        "The key may be in a variable whose name begins with OPENAI_ or CHATSITE_KEY_. "
                        "The operator of the server can allow others in CHATSITE_API_KEY_VARIABLES."
                    )
                }
            )


class ModelQuerySet(models.QuerySet["Model"]):
    def offered(self) -> ModelQuerySet:
        """Return the models that users can choose from, the default first."""
        return (
            self.filter(is_enabled=True, endpoint__is_enabled=True)
            .select_related("endpoint")
            .order_by("-is_default", "label", "name")
        )

    def named(self) -> dict[str, Model]:
        """Return the models that programs can choose from, by name, or full name if the name is taken."""
        found: dict[str, Model] = {}
        for model in self.offered():
            found[model.name if model.name not in found else model.full_name] = model
        return found

    def find(self, name: str) -> Model | None:
        """Return the model with this name or full name, or None."""
        offered = list(self.offered())
        by_full_name = (model for model in offered if model.full_name == name)
        return next((model for model in offered if model.name == name), next(by_full_name, None))


class Model(PricedModel):
    """A model of an endpoint, and its limits, timeouts and prices."""

    class Continuation(models.TextChoices):
        NONE = "none", _("not supported")
        PLAIN = "plain", _("partial answer as the last message")
        VLLM = "vllm", _("continue_final_message (vLLM)")
        PREFIX = "prefix", _("prefix: true on the last message")

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="models")
    name = models.CharField(_("name"), max_length=200, help_text=_("The name that the endpoint uses."))
    label = models.CharField(
        _("label"),
        max_length=80,
        blank=True,
        help_text=_("The name that users see. If empty, they see the name above."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_default = models.BooleanField(_("default"), default=False)
    is_demo = models.BooleanField(
        _("demo"), default=False, help_text=_("Users are told that the model is small and often wrong.")
    )
    writes_titles = models.BooleanField(
        _("writes titles"),
        default=False,
        db_default=False,
        help_text=_(
            "Names new conversations by a short call. If no model does, the first line is the title."
        ),
    )
    context_tokens = models.PositiveIntegerField(
        _("context window"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Maximum number of tokens in the prompt and the answer together. "
            "If empty, it is unknown, and filled in when the endpoint names it."
        ),
    )
    max_output_tokens = models.PositiveIntegerField(
        _("output limit"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("In tokens. If empty, the endpoint's own limit applies."),
    )
    continuation = models.CharField(
        _("continuation"),
        max_length=10,
        choices=Continuation,
        default=Continuation.NONE,
        help_text=_("How the endpoint is asked to continue an interrupted answer."),
    )
    takes_tools = models.BooleanField(
        _("takes tools"),
        default=True,
        db_default=True,
        help_text=_("Whether it answers requests of programs that offer tools."),
    )
    sees_images = models.BooleanField(
        _("sees pictures"),
        default=False,
        db_default=False,
        help_text=_("Whether it takes pictures. People cannot send pictures to a model that does not."),
    )
    makes_images = models.BooleanField(
        _("makes pictures"),
        default=False,
        db_default=False,
        help_text=_("Whether it is asked for pictures beside text, as OpenRouter needs it (“modalities”)."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    refused_parameters = models.JSONField(
        _("refused parameters"),
        default=dict,
        blank=True,
        help_text=_("What the endpoint said of each, which is left out since. Remove one to try again."),
    )
    system_prompt = models.TextField(
        _("system prompt"),
        blank=True,
        help_text=_("Used for conversations without a system prompt of their own."),
    )
    connect_timeout_s = models.FloatField(
        _("connect timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    first_token_timeout_s = models.FloatField(
        _("first-token timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    stall_timeout_s = models.FloatField(
        _("stall timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    total_timeout_s = models.FloatField(
        _("total timeout (s)"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["endpoint__name", "name"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "name"], name="one_row_per_model")]

    def __str__(self) -> str:
        return self.label or self.name

    def save(self, *args: object, **kwargs: object) -> None:
        """Save the row and the date of changed prices; a new default replaces the previous one."""
        with transaction.atomic():
            self._date_prices()
            for name in ("is_default", "writes_titles"):
                if getattr(self, name):
                    Model.objects.filter(**{name: True}).exclude(pk=self.pk).update(**{name: False})
            super().save(*args, **kwargs)  # type: ignore[arg-type]  # Django's own untyped pass-through
        if self.writes_titles:
            title_writers.note(any_exist=True)

    def _date_prices(self) -> None:
        new = [getattr(self, name) for name in self.PRICE_FIELDS]
        old = Model.objects.filter(pk=self.pk).values_list(*self.PRICE_FIELDS).first()
        if list(old or ()) != new and self.has_prices:
            self.prices_since = timezone.now()

    @property
    def full_name(self) -> str:
        """The endpoint's name and its own, which together are unique."""
        return f"{self.endpoint.name}/{self.name}"

    def note_refused(self, parameter: str, detail: str) -> None:
        """Store that the endpoint does not accept a parameter of requests to this model."""
        known = Model.objects.filter(pk=self.pk).values_list("refused_parameters", flat=True).first()
        if known is not None and parameter not in known:
            Model.objects.filter(pk=self.pk).update(refused_parameters={**known, parameter: detail})

    def note_context(self, tokens: int) -> None:
        """Store the size of the context that the endpoint named, if it was unknown."""
        Model.objects.filter(pk=self.pk, context_tokens=None).update(context_tokens=tokens)

    def route(self) -> list[Model]:
        """Return this model and its fallbacks, in order.

        Endpoints of a different confidentiality class are left out: a class may change after a fallback
        was saved.
        """
        # Nearly always there are none, and the query for all of them takes longer to write than to answer.
        if rows.find(self.fallbacks.model, model_id=self.pk) is None:
            return [self]
        usable = self.fallbacks.filter(
            fallback__is_enabled=True,
            fallback__endpoint__is_enabled=True,
            fallback__endpoint__confidentiality=self.endpoint.confidentiality,
        )
        return [self, *(row.fallback for row in usable.select_related("fallback__endpoint"))]

    def route_over(self, fallbacks: Sequence[int]) -> list[Model]:
        """Return this model and the usable ones of these ids, which a request named, in order."""
        offered = Model.objects.offered().filter(endpoint__confidentiality=self.endpoint.confidentiality)
        usable = offered.exclude(pk=self.pk).in_bulk(fallbacks)
        return [self, *(usable[pk] for pk in dict.fromkeys(fallbacks) if pk in usable)]


# Without a model that writes titles, the end of a first answer takes no look at the database for it.
title_writers = Presence(lambda: rows.find(Model, writes_titles=True) is not None)
