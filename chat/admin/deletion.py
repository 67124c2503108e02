"""Deleting users and conversations, which may have very many rows: in the background."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.tasks import clean_up


def begin_erasure(page: ModelAdmin[Any], request: HttpRequest) -> None:
    """Start the cleanup, which erases what was requested, when the request's transaction is committed."""
    page.message_user(
        request,
        _(
            "Messages and related rows are being erased in the background. For 100,000 messages this takes a "
            "minute or two; it goes on after a restart, and the log of the server says when it is done."
        ),
        messages.INFO,
    )
    # If the task is lost, the next cleanup finds the rows.
    transaction.on_commit(clean_up.enqueue, robust=True)
