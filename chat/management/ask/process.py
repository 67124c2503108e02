"""A command that asks: for as long as it takes it is a process like a server, and runs its own answers.

So it works beside a server and without one. Other processes see its heartbeat and leave its answers alone;
should it be killed, a server takes them over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError
from django.db import DatabaseError

from chat.event_log import log as delta_log
from chat.generation import runner as generations
from chat.local_model import supervisor as local_model
from chat.local_model.supervisor import LocalModel
from chat.management import owner
from chat.management.exits import Exit
from chat.models.catalog import Model, seed_from_environment
from chat.models.generation import Generation
from chat.models.process import PROCESS_ID, Process
from chat.runtime import heartbeat
from chat.runtime.task_backends import local as task_backends

# How long answers may take to end when the command does; what is left is ended by a server.
STOP_S = 2.0
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


@asynccontextmanager
async def process(model: Model) -> AsyncIterator[None]:
    """Be a process that can run answers of `model`; those that still run at the end are stopped.

    The demo model of a server belongs to that server: a second child is started here, and ended.
    """
    # What goes wrong with an answer is told by its events; the log would say it again.
    logging.getLogger("chat").setLevel(logging.ERROR)
    task_backends.open_home(asyncio.get_running_loop())
    delta_log.open_writer()
    child = LocalModel() if model.endpoint.is_embedded else None
    try:
        if child is not None:
            child.start()
            local_model.set_current(child)
        await heartbeat.start(kind=Process.Kind.COMMAND)
        yield
    finally:
        await _stop_all()
        await heartbeat.stop()
        await task_backends.close_home()
        await asyncio.to_thread(delta_log.close_writer)
        if child is not None:
            await child.stop()


async def _stop_all() -> None:
    """Stop what this process still runs: nobody is left to read it."""
    ours = Generation.objects.active().filter(owner=PROCESS_ID)
    await delta_log.awrite(ours.request_stop)
    for running in generations.running():
        generations.stop_here(running.id)
    await generations.drain(STOP_S)
