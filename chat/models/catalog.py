"""What can be talked to: endpoints (a base URL and the name of a key) and the models behind them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import TextChoices  # in Endpoint, `models` is its reverse name
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused


def validate_base_url(value: str) -> None:
    """Accept http and https URLs with a host; credentials belong in the environment, not here."""
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValidationError(_("Give a URL such as https://api.openai.com/v1."))
    if parts.username or parts.password:
        raise ValidationError(_("Leave the key out of the URL: name its environment variable instead."))


class Endpoint(models.Model):
    """A server that speaks the OpenAI protocol."""

    class Kind(TextChoices):
        REMOTE = "remote", _("a server at a URL")
        EMBEDDED = "embedded", _("the demo model inside this program")

    name = models.CharField(_("name"), max_length=80, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.REMOTE, editable=False)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        blank=True,
        validators=[validate_base_url],
        help_text=_("Up to and including /v1, as the OpenAI libraries take it."),
    )
    api_key_env = models.CharField(
        _("key's variable"),
        max_length=80,
        blank=True,
        validators=[
            RegexValidator(
                r"^[A-Z_][A-Z0-9_]*$", _("The name of an environment variable, such as OPENAI_API_KEY.")
            )
        ],
        help_text=_("The environment variable that holds the API key. The key itself is never stored."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    finish_reason_optional = models.BooleanField(
        _("finish reason optional"),
        default=False,
        help_text=_(
            "Take [DONE] without a finish reason for a complete answer. Only for servers that never send one."
        ),
    )
    slots = models.PositiveIntegerField(
        _("slots"),
        default=32,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("How many calls may run at once."),
    )

    confidentiality = models.CharField(
        _("confidentiality"),
        max_length=40,
        blank=True,
        db_default="",
        help_text=_(
            "Any word, such as “in house”. A question never falls over to an endpoint with another one."
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
            raise ValidationError({"base_url": _("Give a URL such as https://api.openai.com/v1.")})


class ModelQuerySet(models.QuerySet["Model"]):
    def offered(self) -> ModelQuerySet:
        """Return what people can choose from, the default first."""
        return (
            self.filter(is_enabled=True, endpoint__is_enabled=True)
            .select_related("endpoint")
            .order_by("-is_default", "label", "name")
        )

    def named(self) -> dict[str, Model]:
        """Return what programs can choose from, by name; a name that is taken has its endpoint before it."""
        found: dict[str, Model] = {}
        for model in self.offered():
            found[model.name if model.name not in found else model.full_name] = model
        return found

    def find(self, name: str) -> Model | None:
        """Return the model that programs call `name`, or `endpoint/name`."""
        offered = list(self.offered())
        by_full_name = (model for model in offered if model.full_name == name)
        return next((model for model in offered if model.name == name), next(by_full_name, None))


class Model(models.Model):
    """A model as its endpoint names it, and what we need to know to use it well."""

    class Continuation(models.TextChoices):
        NONE = "none", _("does not continue a partial answer")
        PLAIN = "plain", _("continues when the last message is the assistant's")
        VLLM = "vllm", _("continues with continue_final_message")
        PREFIX = "prefix", _("continues with prefix: true on the message")

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="models")
    name = models.CharField(_("name"), max_length=200, help_text=_("As the endpoint calls it."))
    label = models.CharField(
        _("label"), max_length=80, blank=True, help_text=_("As people see it; empty: the name.")
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_default = models.BooleanField(_("default"), default=False)
    is_demo = models.BooleanField(_("demo"), default=False, help_text=_("Shown as small and often wrong."))
    context_tokens = models.PositiveIntegerField(
        _("context"),
        default=16_000,
        validators=[MinValueValidator(256)],
        help_text=_("Tokens that prompt and answer may have together."),
    )
    max_output_tokens = models.PositiveIntegerField(
        _("longest answer"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("In tokens; empty: the endpoint's own limit."),
    )
    continuation = models.CharField(
        _("continuation"), max_length=10, choices=Continuation, default=Continuation.NONE
    )
    system_prompt = models.TextField(
        _("system prompt"), blank=True, help_text=_("Used where a conversation has none.")
    )
    connect_timeout_s = models.FloatField(
        _("connect time-out, s"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    first_token_timeout_s = models.FloatField(
        _("first-token time-out, s"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    stall_timeout_s = models.FloatField(
        _("stall time-out, s"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    total_timeout_s = models.FloatField(
        _("total time-out, s"), null=True, blank=True, validators=[MinValueValidator(0.1)]
    )
    input_usd_per_million = models.DecimalField(
        _("input, $ per million tokens"),
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
    )
    output_usd_per_million = models.DecimalField(
        _("output, $ per million tokens"),
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
    )

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["endpoint__name", "name"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "name"], name="one_row_per_model")]

    def __str__(self) -> str:
        return self.label or self.name

    def save(self, *args: object, **kwargs: object) -> None:
        """Keep at most one default."""
        with transaction.atomic():
            if self.is_default:
                Model.objects.filter(is_default=True).exclude(pk=self.pk).update(is_default=False)
            super().save(*args, **kwargs)  # type: ignore[arg-type]  # Django's own untyped pass-through

    @property
    def full_name(self) -> str:
        """Its name and where it is, as only one model has it."""
        return f"{self.endpoint.name}/{self.name}"

    def route(self) -> list[Model]:
        """Return this model and those that may answer in its place, in order. One query.

        Never one at an endpoint of another confidentiality, whatever the rows say: it may have changed
        since they were made.
        """
        usable = self.fallbacks.filter(
            fallback__is_enabled=True,
            fallback__endpoint__is_enabled=True,
            fallback__endpoint__confidentiality=self.endpoint.confidentiality,
        )
        return [self, *(each.fallback for each in usable.select_related("fallback__endpoint"))]

    def route_over(self, fallbacks: Sequence[int]) -> list[Model]:
        """`route`, with the models of these ids, which a request named, instead of its own rows."""
        offered = Model.objects.offered().filter(endpoint__confidentiality=self.endpoint.confidentiality)
        usable = offered.exclude(pk=self.pk).in_bulk(fallbacks)
        return [self, *(usable[pk] for pk in dict.fromkeys(fallbacks) if pk in usable)]


class Fallback(models.Model):
    """A model that may answer in another one's place. Nothing falls over that has no such row."""

    model = models.ForeignKey(Model, models.CASCADE, related_name="fallbacks")
    fallback = models.ForeignKey(Model, models.CASCADE, related_name="+", verbose_name=_("fallback"))
    position = models.PositiveSmallIntegerField(
        _("position"), default=0, help_text=_("The lowest is asked first.")
    )

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["model", "fallback"], name="one_row_per_fallback"),
            models.CheckConstraint(condition=~models.Q(model=models.F("fallback")), name="another_model"),
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.fallback}"

    def clean(self) -> None:
        if not self.fallback_id or not self.model.endpoint_id:
            return  # the form says so itself
        if self.fallback_id == self.model.pk:
            raise ValidationError({"fallback": _("A model cannot answer in its own place.")})
        if self.model.endpoint.confidentiality != self.fallback.endpoint.confidentiality:
            raise ValidationError(
                {"fallback": _("Its endpoint has another confidentiality: questions must not go there.")}
            )


ENVIRONMENT_ENDPOINT = "environment"
EMBEDDED_ENDPOINT = "embedded"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o-mini"


@transaction.atomic
def seed_from_environment() -> None:
    """Make the rows say what the environment says; what staff added or tuned beside it stays.

    The environment decides which server `environment` is and which of its models exist; time-outs,
    prices, labels and every other endpoint belong to the admin. A default that staff chose is kept
    while it is still offered.
    """
    if settings.OPENAI_IS_CONFIGURED:
        endpoint, _is_new = Endpoint.objects.update_or_create(
            name=ENVIRONMENT_ENDPOINT,
            defaults={
                "base_url": settings.OPENAI_BASE_URL or DEFAULT_BASE_URL,
                "api_key_env": "OPENAI_API_KEY",
                "is_enabled": True,
            },
        )
        names = settings.OPENAI_MODELS or [DEFAULT_MODEL]
        for name in names:
            Model.objects.update_or_create(endpoint=endpoint, name=name, defaults={"is_enabled": True})
        endpoint.models.exclude(name__in=names).update(is_enabled=False)
    else:
        Endpoint.objects.filter(name=ENVIRONMENT_ENDPOINT).update(is_enabled=False)
    if settings.EMBEDDED_MODEL_IS_WANTED:
        endpoint, _is_new = Endpoint.objects.update_or_create(
            name=EMBEDDED_ENDPOINT,
            defaults={"kind": Endpoint.Kind.EMBEDDED, "is_enabled": True},
            create_defaults={"kind": Endpoint.Kind.EMBEDDED, "slots": 2},
        )
        Model.objects.get_or_create(
            endpoint=endpoint,
            name="SmolLM2-135M-Instruct",
            defaults={
                "label": "SmolLM2 135M (demo)",
                "is_demo": True,
                "context_tokens": 4096,
                "max_output_tokens": 1024,
                "continuation": Model.Continuation.PLAIN,
                # On a slow processor, reading a long prompt takes it a minute.
                "first_token_timeout_s": 120.0,
                "stall_timeout_s": 60.0,
                # The model's own template puts a line there that makes it answer worse.
                "system_prompt": "You are a helpful assistant.",
            },
        )
    else:
        Endpoint.objects.filter(kind=Endpoint.Kind.EMBEDDED).update(is_enabled=False)
    _ensure_default()


def _ensure_default() -> None:
    offered = Model.objects.offered()
    if offered.filter(is_default=True).exists():
        return
    best = offered.filter(endpoint__name=ENVIRONMENT_ENDPOINT, name__in=settings.OPENAI_MODELS[:1]).first()
    model = best or offered.filter(is_demo=False).first() or offered.first()
    if model is not None:
        model.is_default = True
        model.save(update_fields=["is_default"])


def choose_model(model_id: int | None, default_id: int | None = None) -> Model:
    """Return the chosen model, else the one with `default_id`, else the site's default.

    Raises RequestRefused `no_model` if the chosen one, or every one, is unavailable.
    """
    offered = Model.objects.offered()
    if model_id is not None:
        model = offered.filter(pk=model_id).first()
        if model is None:
            raise RequestRefused(
                "no_model", gettext("This model is not available any more. Choose another one.")
            )
        return model
    model = (offered.filter(pk=default_id).first() if default_id is not None else None) or offered.first()
    if model is None:
        raise RequestRefused(
            "no_model",
            gettext("No model is set up. Staff can add one in the admin, or set OPENAI_API_KEY and restart."),
        )
    return model
