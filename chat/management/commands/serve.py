"""`manage.py serve`: prepare what is missing, then run the server with all that belongs to it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from asgiref.sync import sync_to_async
from channels.routing import get_default_application
from django.conf import settings
from django.core.management import BaseCommand, CommandParser, call_command
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from chat.event_log import log as delta_log
from chat.generation import runner as generations
from chat.local_model import supervisor as local_model
from chat.local_model.supervisor import LocalModel
from chat.management import listening, owner, static_files
from chat.management.server_lock import AlreadyRunning, ServerLock
from chat.models.catalog import Endpoint, seed_from_environment
from chat.runtime import asgi_server as server
from chat.runtime import heartbeat
from chat.runtime.task_backends import local as task_backends

logger = logging.getLogger(__name__)

# Larger frames cut the socket without a word; up to here our consumer refuses them politely.
SOCKET_FRAME_MAX_BYTES = 4 * 1024 * 1024
GOODBYE = "Stopping. Answers in progress have {:g} s; Ctrl-C again ends at once."
BEYOND = (
    "Listening on {}, beyond this machine: whoever can reach it can reach Chatsite.\n"
    "  People may use these names for it: {}.\n"
    "  Others are refused; CHATSITE_ALLOWED_HOSTS must hold the name or address they type."
)


class Refusal(Exception):
    """The server is not started; the message says why and what to do."""


class Command(BaseCommand):
    help = "Run Chatsite: the web server, the answers in progress and the demo model. Ctrl-C ends it."
    # Only chatsite/checks.py: prints variables without effect. `manage.py check` runs Django's own checks.
    requires_system_checks = ["environment"]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument(
            "--port",
            type=_port,
            default=8000,
            help="port to listen on; if it is taken, the next free one (default: %(default)s; 0: any)",
        )
        parser.add_argument(
            "--no-migrate",
            dest="is_migrating",
            action="store_false",
            help="leave a SQLite database's tables as they are",
        )

    def handle(self, *, host: str, port: int, is_migrating: bool, **_: Any) -> NoReturn:
        code = 0
        try:
            self._serve(host, port, is_migrating)
        except KeyboardInterrupt:
            pass  # while preparing; nothing has been started
        except (Refusal, AlreadyRunning, listening.CannotListen) as error:
            self.stderr.write(str(error))
            code = 1
        except server.StartupFailed as error:
            self.stderr.write(f"Chatsite could not start: {error}")
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        # A view that still runs in a thread must not hold up the end; all that counts is committed.
        os._exit(code)

    def _serve(self, host: str, port: int, is_migrating: bool) -> None:
        lock = ServerLock()
        lock.take()
        self._prepare(is_migrating)
        application = get_default_application()
        opened = listening.listen(host, port)
        url = settings.PUBLIC_URL or listening.local_url(opened)
        lock.tell(url)
        greeting = self._greeting(url, opened, port)
        parts = Parts(url, self._say)
        connections.close_all()  # what follows uses the database from other threads
        server.Server(
            application,
            opened,
            startup=parts.start,
            ready=lambda: self._say(greeting),
            draining=lambda: self._say(GOODBYE.format(settings.DRAIN_S)),
            drain=parts.drain,
            shutdown=parts.stop,
            drain_s=settings.DRAIN_S,
            frame_max_bytes=SOCKET_FRAME_MAX_BYTES,
            server_name="chatsite",
        ).run()
        lock.tell("")
        self._say("Stopped.")

    # -- what may be missing ----------------------------------------------------------------------

    def _prepare(self, is_migrating: bool) -> None:
        try:
            self._migrate(is_migrating)
            seed_from_environment()
            owner.owner()
        except DatabaseError as error:
            raise Refusal(f"The database cannot be used: {str(error).strip()}") from error
        if not static_files.are_collected():
            self._say("Collecting static files …")
            try:
                static_files.collect()
            except subprocess.CalledProcessError as error:
                raise Refusal("The static files could not be collected, see above.") from error

    def _migrate(self, is_migrating: bool) -> None:
        """Make missing tables on SQLite, which is ours alone; ask for it where others share the database."""
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if not missing:
            return
        if connection.vendor != "sqlite" or not is_migrating:
            raise Refusal(f"The database lacks {missing} migrations. Run: manage.py migrate")
        self._say("Preparing the database …")
        call_command("migrate", interactive=False, verbosity=0)

    # -- what people read -------------------------------------------------------------------------

    def _greeting(self, url: str, opened: socket.socket, port: int) -> str:
        address, used_port = opened.getsockname()[:2]
        lines = []
        if port not in {0, used_port}:
            lines.append(f"Port {port} is taken by something else, so it is {used_port} this time.")
        if listening.is_beyond_this_machine(opened):
            lines.append(BEYOND.format(address, ", ".join(settings.ALLOWED_HOSTS)))
        lines.append(f"Chatsite runs at {url}/ (Ctrl-C ends it)")
        if settings.PUBLIC_URL:
            lines.append(f"It listens on {address}, port {used_port}.")
        if not owner.can_sign_in():
            lines.append("Sign in as its owner with this link (once, within 15 minutes):")
            lines.append("  " + owner.link_for(owner.owner(), url))
        return "\n".join(lines)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class Parts:
    """What runs in the server's process beside the web server, in the order in which it needs one another."""

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        self._url = url
        self._say = say
        self._model: LocalModel | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start everything; whatever fails is told by the server, which then calls `stop`."""
        if await sync_to_async(_wants_local_model)():
            # First: it loads in another process while this one goes on.
            self._model = LocalModel()
            self._model.start()
            local_model.set_current(self._model)
            self._own(self._tell_of(self._model), "news of the local model")
        task_backends.open_home(asyncio.get_running_loop())
        delta_log.open_writer()
        await heartbeat.start(url=self._url)
        # Takes a second or two, which the first page need not wait for.
        self._own(asyncio.to_thread(generations.prepare), "load the SDK")

    async def drain(self) -> None:
        """Let running answers go on for a while, then hand them over."""
        await generations.drain(settings.DRAIN_S)

    async def stop(self) -> None:
        """End everything, the last started first."""
        await heartbeat.stop()
        await task_backends.close_home()
        await asyncio.to_thread(delta_log.close_writer)
        for task in self._tasks:
            task.cancel()
        if self._model is not None:
            await self._model.stop()

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s failed", task.get_name(), exc_info=error)

    async def _tell_of(self, model: LocalModel) -> None:
        is_ready = await model.wait_ready()
        self._say("The demo model is ready. It is small and often wrong." if is_ready else model.message)


def _wants_local_model() -> bool:
    return Endpoint.objects.filter(kind=Endpoint.Kind.EMBEDDED, is_enabled=True).exists()


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65_535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 0 to 65535")
