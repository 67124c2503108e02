"""Delivering call-backs: signed, at least once, again and again for a day.

Signed as the Standard Webhooks specification says (https://www.standardwebhooks.com), which the openai
libraries can check: `client.webhooks.verify_signature(body, headers, secret=…)`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from typing import TYPE_CHECKING

import msgspec
from channels.db import database_sync_to_async
from django.tasks import task

from chat.event_log import log as delta_log
from chat.models.webhook import Callback
from chat.runtime.task_backends.local import TaskPriority

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

AT_ONCE = 20
TIMEOUT_S = 10.0


def signed(callback: Callback, now_s: int) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a call-back that is sent at `now_s` (Unix time)."""
    generation = callback.generation
    body = msgspec.json.encode(
        {
            "id": str(callback.pk),
            "object": "event",
            "created_at": now_s,
            "type": f"generation.{generation.status}",
            "data": {"id": generation.wire_id, "status": generation.status},
        }
    )
    secret = base64.b64decode(callback.receiver.secret.removeprefix("whsec_"))
    content = b".".join([str(callback.pk).encode(), str(now_s).encode(), body])
    signature = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return body, {
        "content-type": "application/json",
        "user-agent": "chatsite",
        "webhook-id": str(callback.pk),
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{signature}",
    }


def are_due() -> bool:
    """Say whether there is anything to deliver now."""
    return Callback.objects.due().exists()


@task(priority=TaskPriority.API)
async def deliver_due() -> None:
    """Send what is due; what fails comes again later. Whoever takes a row first sends it."""
    due = await database_sync_to_async(_due)()
    if not due:
        return
    import aiohttp  # half a second that a server without call-backs need not spend

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        await asyncio.gather(*(_deliver(session, callback) for callback in due))


def _due() -> list[Callback]:
    return list(Callback.objects.due().select_related("receiver", "generation")[:AT_ONCE])


async def _deliver(session: aiohttp.ClientSession, callback: Callback) -> None:
    if not await delta_log.awrite(callback.take):
        return
    import aiohttp

    body, headers = signed(callback, int(time.time()))
    try:
        # What it answers is nobody's business; redirects could lead anywhere.
        async with session.post(
            callback.receiver.url, data=body, headers=headers, allow_redirects=False
        ) as response:
            problem = "" if response.status < 300 else f"HTTP {response.status}"
    except (aiohttp.ClientError, OSError, ValueError) as exc:  # a TimeoutError is an OSError
        problem = f"{type(exc).__name__}: {exc}"
    if problem:
        logger.info("%s was not delivered: %s", callback, problem)
        await delta_log.awrite(lambda: callback.failed(problem))
    else:
        await delta_log.awrite(callback.delivered)
