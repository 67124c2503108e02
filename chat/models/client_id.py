"""Client ids: a client may repeat a request with the same id, and only the first one is stored."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.generation import Generation, StartedGeneration
from chat.models.limits import lock_user

CLIENT_ID_MAX_CHARS = 64


def find_previous(user: AbstractUser, client_id: str) -> Generation | None:
    """Lock the user and return the generation that they started with this id before, or None.

    From here to the end of the transaction, no other process can store a generation for this user.
    Raises RequestRefused `bad_client_id`.
    """
    _check(client_id)
    lock_user(user.pk)
    return Generation.started_by(user, client_id)


def repeat(previous: Generation, *, is_same: bool) -> StartedGeneration:
    """Return what the first request stored. Raises RequestRefused `conflict` unless `is_same`."""
    if not is_same:
        raise RequestRefused(
            "conflict",
            _("This client ID was already used for a different message. Reload the page and send it again."),
        )
    return previous.as_started(is_repeat=True)


def _check(client_id: str) -> None:
    is_valid = 0 < len(client_id) <= CLIENT_ID_MAX_CHARS and client_id.isascii() and client_id.isprintable()
    if not is_valid:
        raise RequestRefused("bad_client_id", _("client_id must be 1 to 64 printable ASCII characters."))
