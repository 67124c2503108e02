"""The user, the model and the runtime of a command that calls a model.

While the command runs, it has a runtime like a server's, so it works with and without a server. Other
processes see its heartbeat and leave its answers alone. If the command is killed, a server takes them over.
"""

from __future__ import annotations

import logging

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError
from django.db import DatabaseError

from chat.local_model.supervisor import LocalModel
from chat.management import owner
from chat.management.exits import Exit
from chat.models.catalog import Model
from chat.models.environment import seed_from_environment
from chat.models.process import Process
from chat.runtime.process import Runtime

# Names that the error about an unknown model lists, at most.
NAMES_SHOWN = 20


def find_user_and_model(username: str | None, model_name: str | None) -> tuple[AbstractUser, Model]:
    """Return the user and the model with these names, or the defaults. Raises CommandError."""
    try:
        if not Model.objects.exists():  # no server has started on this database yet
            seed_from_environment()
        return _user(username), _model(model_name)
    except DatabaseError as error:
        message = f"The database cannot be used: {str(error).strip()}. Run manage.py serve or migrate first."
        raise CommandError(message, returncode=Exit.FAULT) from error


def _user(name: str | None) -> AbstractUser:
    if name is None:
        return owner.owner()
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name!r}.", returncode=Exit.USAGE)
    if not user.is_active:
        raise CommandError(f"{name} is disabled. Enable the user in the admin.", returncode=Exit.REFUSED)
    return user


def _model(name: str | None) -> Model:
    """Return the default model, or the one with this name, label or ENDPOINT/NAME."""
    offered = list(Model.objects.offered())
    if not offered:
        message = "There are no models. Add one in the admin, or set OPENAI_API_KEY and run manage.py serve."
        raise CommandError(message, returncode=Exit.REFUSED)
    if name is None:
        return offered[0]
    by_name = [model for model in offered if name in (model.full_name, model.name)]
    found = by_name or [model for model in offered if name == model.label]
    if not found:
        raise CommandError(_unknown_model(name, offered), returncode=Exit.REFUSED)
    if len(found) > 1:
        names = ", ".join(model.full_name for model in found)
        message = f"Several models are named {name!r}. Use one of: {names}."
        raise CommandError(message, returncode=Exit.USAGE)
    return found[0]


def _unknown_model(name: str, offered: list[Model]) -> str:
    names = ", ".join(model.full_name for model in offered[:NAMES_SHOWN])
    more = " …" if len(offered) > NAMES_SHOWN else ""
    return f"There is no model {name!r}. Available: {names}{more}."


def runtime_for(model: Model) -> Runtime:
    """Return a runtime for a command that calls `model`. The caller enters it.

    Answers that are still running when it exits are stopped. If `model` is the demo model, the runtime starts
    a child process of its own: the one of a server belongs to that server.
    """
    # Failures of an answer are reported as events. The log would repeat them.
    logging.getLogger("chat").setLevel(logging.ERROR)
    local_model = LocalModel() if model.endpoint.is_embedded else None
    return Runtime(Process.Kind.COMMAND, local_model=local_model)
