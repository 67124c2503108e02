"""Delivery of webhooks: signed, at least once, retried for a day.

Signed by the Standard Webhooks specification (https://www.standardwebhooks.com). The openai libraries
verify such signatures: `client.webhooks.verify_signature(body, headers, secret=…)`.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from channels.db import database_sync_to_async

from chat.event_log.writer import Writer
from chat.models.webhook import Webhook

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

DELIVERIES_AT_ONCE = 20
TIMEOUT_S = 10.0


def signed(webhook: Webhook, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Return the body and the signed headers of a webhook that is sent at `now` (UTC)."""
    from standardwebhooks import Webhook as Signer  # not at the top: most processes never send one

    generation = webhook.generation
    webhook_id, sent_s = str(webhook.pk), int(now.timestamp())
    body = msgspec.json.encode(
        {
            "id": webhook_id,
            "object": "event",
            "created_at": sent_s,
            "type": f"generation.{generation.status}",
            "data": {"id": generation.wire_id, "status": generation.status},
        }
    )
    return body, {
        "content-type": "application/json",
        "user-agent": "chatsite",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(sent_s),
        "webhook-signature": Signer(webhook.endpoint.secret).sign(webhook_id, now, body.decode()),
    }


def are_due() -> bool:
    """Return whether any webhook is to be sent now."""
    return Webhook.objects.due().exists()


async def deliver_due(writer: Writer) -> None:
    """Send the webhooks that are due. Each is claimed first, so that only one process sends it."""
    due = await database_sync_to_async(_due)()
    if not due:
        return
    import aiohttp  # takes half a second: only where webhooks are sent

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        await asyncio.gather(*(_deliver(writer, session, webhook) for webhook in due))


def _due() -> list[Webhook]:
    due = Webhook.objects.due().select_related("endpoint", "generation").defer("generation__request")
    return list(due[:DELIVERIES_AT_ONCE])


async def _deliver(writer: Writer, session: aiohttp.ClientSession, webhook: Webhook) -> None:
    if not await writer.arun(webhook.claim_attempt):
        return
    problem = await _post(session, webhook)
    if problem:
        logger.info("%s was not delivered: %s", webhook, problem)
        await writer.arun(lambda: webhook.mark_failed(problem))
    else:
        await writer.arun(webhook.mark_delivered)


async def _post(session: aiohttp.ClientSession, webhook: Webhook) -> str:
    """Send one webhook; return what went wrong, or an empty string."""
    import aiohttp

    body, headers = signed(webhook, datetime.now(UTC))
    try:
        # The response body is not read. Redirects are not followed: they could lead to any host.
        async with session.post(
            webhook.endpoint.url, data=body, headers=headers, allow_redirects=False
        ) as response:
            return "" if response.status < 300 else f"HTTP {response.status}"
    except (aiohttp.ClientError, OSError, ValueError) as exc:  # a TimeoutError is an OSError
        return f"{type(exc).__name__}: {exc}"
