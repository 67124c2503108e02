"""A look at the address in OPENAI_BASE_URL when the server starts: one GET request, never a paid call."""

from __future__ import annotations

import asyncio
import logging

from django.conf import settings

from chat import upstream
from chat.models import key_variable
from chat.upstream import errors
from chat.upstream.model_list import find_base_url, list_models

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0


async def warn_of_wrong_address() -> None:
    """Log the right base URL if OPENAI_BASE_URL is wrong and another one at the same host and port works.

    Says nothing if nothing answers: the endpoint may be started later.
    """
    if not settings.OPENAI_BASE_URL:
        return
    client = upstream.Client()
    try:
        await asyncio.to_thread(client.prepare)
        await _look(client, settings.OPENAI_BASE_URL, key_variable.key_of("OPENAI_API_KEY"))
    finally:
        await client.close()


async def _look(client: upstream.Client, base_url: str, api_key: str) -> None:
    try:
        await list_models(client, base_url, api_key, timeout_s=TIMEOUT_S)
    except errors.WrongAddress as exc:
        found = await find_base_url(client, base_url, api_key, exc, timeout_s=TIMEOUT_S)
        if found is not None:
            logger.error(
                "OPENAI_BASE_URL is wrong: another address of the same server answers. "
                "Set OPENAI_BASE_URL=%s and restart.",
                found,
            )
    except errors.UpstreamError as exc:
        logger.info("OPENAI_BASE_URL was not checked: %s", exc)
