"""Look at an endpoint before it is stored: whether it answers, and which models it has. Costs nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from chat import upstream
from chat.model_check.check import LIST_TIMEOUT_S
from chat.upstream import errors
from chat.upstream.model_list import ListedModel, find_base_url, list_models

LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class EndpointLook:
    """What an endpoint answered. `problem`: for staff. `base_url`: where it answers instead, if known."""

    models: list[ListedModel] = field(default_factory=list)
    problem: str = ""
    base_url: str = ""


def look_at(base_url: str, api_key: str) -> EndpointLook:
    """List the models of an endpoint. Blocks for `LIMIT_S` at most; must not be called on an event loop."""
    return asyncio.run(_look_at(base_url, api_key))


async def _look_at(base_url: str, api_key: str) -> EndpointLook:
    client = upstream.Client()
    try:
        async with asyncio.timeout(LIMIT_S):
            await asyncio.to_thread(client.prepare)
            return await _listed(client, base_url, api_key)
    except TimeoutError:
        return EndpointLook(problem=_("The endpoint did not answer within %(limit)d s.") % {"limit": LIMIT_S})
    finally:
        await client.close()


async def _listed(client: upstream.Client, base_url: str, api_key: str) -> EndpointLook:
    try:
        models = await list_models(client, base_url, api_key, timeout_s=LIST_TIMEOUT_S)
    except (errors.WrongKey, errors.Forbidden):
        problem = _("The endpoint refuses the key.") if api_key else _("The endpoint wants a key.")
        return EndpointLook(problem=problem)
    except errors.UpstreamError as exc:
        found = await find_base_url(client, base_url, api_key, exc, timeout_s=LIST_TIMEOUT_S)
        if found is not None:
            return EndpointLook(problem=_("The endpoint answers at another address."), base_url=found)
        if isinstance(exc, errors.WrongAddress):
            return EndpointLook(
                problem=_("The endpoint has no list of models (%(detail)s).") % {"detail": exc.detail}
            )
        if isinstance(exc, errors.Unreachable):
            problem = _(
                "The endpoint cannot be reached. Check its host and port, and that its server is running."
            )
            return EndpointLook(problem=problem)
        return EndpointLook(problem=_("The endpoint does not work: %(detail)s") % {"detail": exc.detail})
    return EndpointLook(sorted(models, key=lambda each: each.name))
