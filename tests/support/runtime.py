"""A runtime inside the test's own process: what a server consists of, without the web server."""

import asyncio
import contextlib

from django.utils import timezone

from chat.event_log.writer import InlineWriter
from chat.models import Conversation, Generation, Message, Process
from chat.runtime.database_thread import read_on_shared_thread
from chat.runtime.process import Runtime


def new_runtime(kind=Process.Kind.SERVER, *, writer=None, **options):
    """Return a runtime whose writer works inside the test's transaction, unless another one is given."""
    return Runtime(kind, writer=writer or InlineWriter(), read=read_on_shared_thread, **options)


@contextlib.asynccontextmanager
async def open_runtime(kind=Process.Kind.SERVER, *, writer=None, **options):
    """Open a runtime that accepts work and has no heartbeat loop; stop it at the end."""
    runtime = new_runtime(kind, writer=writer, **options)
    runtime.open()
    try:
        yield runtime
    finally:
        await runtime.stop()


def running_generation(user, model, *, owner="me"):
    """Store a generation that `owner` runs."""
    conversation = Conversation.objects.create(user=user)
    message = Message.objects.create(conversation=conversation, role="assistant")
    return Generation.objects.create(
        message=message,
        user=user,
        client_id=f"c{message.pk}",
        model=model,
        status="running",
        owner=owner,
        epoch=1,
        started_at=timezone.now(),
    )


def owned_by(user, model, owner, **fields):
    """Store a generation that `owner` runs, with these fields changed."""
    generation = running_generation(user, model, owner=owner)
    Generation.objects.filter(pk=generation.pk).update(**fields)
    return generation


def lease_on(log, generation, failures=None):
    """Open the log of a generation for its owner."""
    return log.open_lease(
        generation.pk,
        owner=generation.owner,
        epoch=generation.epoch,
        seq=0,
        on_failure=failures.append if failures is not None else lambda failure: None,
    )


async def turn_until(check):
    """Let the event loop turn until `check` is true: for states that no event announces."""
    while not check():  # noqa: ASYNC110 - turns of the loop, not a time
        await asyncio.sleep(0)
