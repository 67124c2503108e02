"""The process of a command that asks a model: while it lasts, it has a runtime like a server's.

So it works beside a server and without one. Other processes see its heartbeat and leave its answers alone.
If the command is killed, a server takes them over.
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

# An unknown name is answered with those that exist, as far as they fit on a screen.
NAMES_SHOWN = 20


def who_and_what(username: str | None, model_name: str | None) -> tuple[AbstractUser, Model]:
    """Return who asks and which model is asked. Raises CommandError, with its exit code."""
    try:
        if not Model.objects.exists():  # no server has ever run here
            seed_from_environment()
        return _user(username), _model(model_name)
    except DatabaseError as error:
        words = f"The database cannot be used: {str(error).strip()}. Has manage.py serve or migrate run?"
        raise CommandError(words, returncode=Exit.FAULT) from error


def _user(name: str | None) -> AbstractUser:
    if name is None:
        return owner.owner()
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name!r}.", returncode=Exit.USAGE)
    if not user.is_active:
        raise CommandError(f"{name} is disabled; enable the account in the admin.", returncode=Exit.REFUSED)
    return user


def _model(name: str | None) -> Model:
    """Return the default, or the model of this name or label (or ENDPOINT/NAME)."""
    offered = list(Model.objects.offered())
    if not offered:
        words = "No model is set up. Add one in the admin, or set OPENAI_API_KEY and run manage.py serve."
        raise CommandError(words, returncode=Exit.REFUSED)
    if name is None:
        return offered[0]
    full = [f"{model.endpoint.name}/{model.name}" for model in offered]
    found = [
        model for model, full_name in zip(offered, full, strict=True) if name in (full_name, model.name)
    ] or [model for model in offered if name == model.label]
    if not found:
        more = " …" if len(full) > NAMES_SHOWN else ""
        words = f"There is no model {name!r}. There is: {', '.join(full[:NAMES_SHOWN])}{more}."
        raise CommandError(words, returncode=Exit.REFUSED)
    if len(found) > 1:
        which = ", ".join(f"{model.endpoint.name}/{model.name}" for model in found)
        raise CommandError(f"Several models are called {name!r}. Say which: {which}.", returncode=Exit.USAGE)
    return found[0]


def runtime_for(model: Model) -> Runtime:
    """Return the runtime of a command, which can run answers of `model`, to be entered.

    Answers that still run when it exits are stopped. The demo model of a server belongs to that server:
    a second child is started here.
    """
    # Events report what goes wrong with an answer; the log would repeat it.
    logging.getLogger("chat").setLevel(logging.ERROR)
    local_model = LocalModel() if model.endpoint.is_embedded else None
    return Runtime(Process.Kind.COMMAND, local_model=local_model)
