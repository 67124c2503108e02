"""The endpoints and models that environment variables describe, as rows of the catalog."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from chat.models.catalog import Endpoint, Model
from chat.models.vision import makes_by_name, sees_by_name

ENVIRONMENT_ENDPOINT = "environment"
EMBEDDED_ENDPOINT = "embedded"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o-mini"
EMBEDDED_MODEL = "SmolLM2-135M-Instruct"


@transaction.atomic
def seed_from_environment() -> None:
    """Create and update rows as the environment says; keep what staff added or changed.

    The environment determines the endpoint `environment` and which of its models are enabled. Staff manage
    timeouts, prices, labels and all other endpoints. A default model that staff chose stays the default
    while it is available.
    """
    if settings.OPENAI_IS_CONFIGURED:
        _enable_environment_endpoint()
    else:
        Endpoint.objects.filter(name=ENVIRONMENT_ENDPOINT).update(is_enabled=False)
    if settings.EMBEDDED_MODEL_IS_WANTED:
        _enable_embedded_endpoint()
    else:
        Endpoint.objects.filter(kind=Endpoint.Kind.EMBEDDED).update(is_enabled=False)
    _ensure_default()


def _enable_environment_endpoint() -> None:
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
        # What staff said of a model that is known already stays.
        new = {"is_enabled": True, "sees_images": sees_by_name(name), "makes_images": makes_by_name(name)}
        Model.objects.update_or_create(
            endpoint=endpoint, name=name, defaults={"is_enabled": True}, create_defaults=new
        )
    endpoint.models.exclude(name__in=names).update(is_enabled=False)


def _enable_embedded_endpoint() -> None:
    endpoint, _is_new = Endpoint.objects.update_or_create(
        name=EMBEDDED_ENDPOINT,
        defaults={"kind": Endpoint.Kind.EMBEDDED, "is_enabled": True},
        create_defaults={"kind": Endpoint.Kind.EMBEDDED, "slots": 2},
    )
    Model.objects.get_or_create(
        endpoint=endpoint,
        name=EMBEDDED_MODEL,
        defaults={
            "label": "SmolLM2 135M (demo)",
            "is_demo": True,
            "context_tokens": 4096,
            "max_output_tokens": 1024,
            "continuation": Model.Continuation.PLAIN,
            # A slow processor needs about a minute to read a long prompt.
            "first_token_timeout_s": 120.0,
            "stall_timeout_s": 60.0,
            # Without a system prompt, the model's template inserts one that gives worse answers.
            "system_prompt": "You are a helpful assistant.",
        },
    )


def _ensure_default() -> None:
    offered = Model.objects.offered()
    if offered.filter(is_default=True).exists():
        return
    first = offered.filter(endpoint__name=ENVIRONMENT_ENDPOINT, name__in=settings.OPENAI_MODELS[:1]).first()
    model = first or offered.filter(is_demo=False).first() or offered.first()
    if model is not None:
        model.is_default = True
        model.save(update_fields=["is_default"])
