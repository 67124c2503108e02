"""`manage.py serve`: prepare database and static files, then run the web server and its runtime."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from functools import partial
from typing import Any, NoReturn

from channels.routing import get_default_application
from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from chat.attachments.bucket import BucketStorage
from chat.local_model.supervisor import LocalModel
from chat.management import listening, owner, static_files
from chat.management.server_lock import AlreadyRunning, ServerLock
from chat.model_check.at_start import warn_of_wrong_address
from chat.models import stored_content
from chat.models.catalog import Endpoint
from chat.models.environment import seed_from_environment
from chat.models.process import Process
from chat.runtime import asgi_server
from chat.runtime.http_limits import http_limits
from chat.runtime.process import Runtime
from chat.tasks import SCHEDULED

# Larger frames close the socket at once; up to this size the consumer refuses them with a message.
SOCKET_FRAME_MAX_BYTES = 4 * 1024 * 1024
STOPPING = "Stopping. Running answers have {:g} s to finish; press Ctrl-C again to stop at once."
BEYOND = (
    "Listening on {}: every machine that can reach this address can reach Chatsite.\n"
    "  Allowed host names: {}.\n"
    "  Requests to other host names are refused. Add names to CHATSITE_ALLOWED_HOSTS."
)


class CannotStart(Exception):
    """The server cannot start. The message says why and what to do."""


class Command(BaseCommand):
    help = "Run Chatsite: web server, answer generation and demo model. Stop it with Ctrl-C."
    # Only chatsite/checks.py: prints variables without effect. `manage.py check` runs Django's own checks.
    requires_system_checks = ["environment"]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument(
            "--port",
            type=_port,
            default=8000,
            help="port to listen on, or the next free one if it is taken (default: %(default)s; 0: any)",
        )
        parser.add_argument(
            "--no-migrate",
            dest="is_migrating",
            action="store_false",
            help="do not migrate a SQLite database",
        )

    def handle(self, *, host: str, port: int, is_migrating: bool, **_: Any) -> NoReturn:
        code = 0
        try:
            self._serve(host, port, is_migrating)
        except KeyboardInterrupt:
            pass  # during preparation, before anything runs
        except (CannotStart, AlreadyRunning, listening.CannotListen) as error:
            self.stderr.write(str(error))
            code = 1
        except asgi_server.StartupFailed as error:
            self.stderr.write(f"Chatsite could not start: {error}")
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        # Do not wait for views that still run in threads. Everything acknowledged is committed.
        os._exit(code)

    def _serve(self, host: str, port: int, is_migrating: bool) -> None:
        lock = ServerLock()
        lock.take()
        self._prepare(is_migrating)
        application = get_default_application()
        opened = listening.listen(host, port)
        url = settings.PUBLIC_URL or listening.local_url(opened)
        lock.publish_url(url)
        greeting = self._greeting(url, opened, port)
        local_model = LocalModel() if _is_local_model_wanted() else None
        runtime = Runtime(Process.Kind.SERVER, url=url, local_model=local_model, scheduled=SCHEDULED)
        connections.close_all()  # other threads use the database from here on

        async def start() -> None:
            await runtime.start()
            runtime.background.start(warn_of_wrong_address(), "check of OPENAI_BASE_URL")
            if local_model is not None:
                runtime.background.start(self._report(local_model), "report of the embedded model")

        asgi_server.Server(
            application,
            opened,
            startup=start,
            ready=lambda: self._write(greeting),
            draining=lambda: self._write(STOPPING.format(settings.DRAIN_S)),
            drain=partial(runtime.drain, settings.DRAIN_S),
            shutdown=runtime.stop,
            drain_s=settings.DRAIN_S,
            frame_max_bytes=SOCKET_FRAME_MAX_BYTES,
            limits=http_limits(),
            server_name="chatsite",
        ).run()
        lock.publish_url("")
        self._write("Stopped.")

    async def _report(self, model: LocalModel) -> None:
        is_ready = await model.wait_ready()
        self._write(
            "The demo model is ready. It is small and often wrong."
            if is_ready
            else f"The demo model is not running. {model.message}"
        )

    def _prepare(self, is_migrating: bool) -> None:
        try:
            self._migrate(is_migrating)
            seed_from_environment()
            owner.owner()
        except DatabaseError as error:
            raise CannotStart(f"The database cannot be used: {str(error).strip()}") from error
        self._check_files()
        if not static_files.are_collected():
            self._write("Collecting static files…")
            try:
                static_files.collect()
            except subprocess.CalledProcessError as error:
                raise CannotStart("Static files could not be collected. See the messages above.") from error

    def _check_files(self) -> None:
        """Refuse to start with a bucket that cannot work; warn of one that does not answer."""
        storage = stored_content.storage()
        if isinstance(storage, BucketStorage) and (problem := storage.problem()) is not None:
            if not problem.can_pass:
                raise CannotStart(problem.message)
            self.stderr.write(f"{problem.message} Until it can, files are neither stored nor read.")

    def _migrate(self, is_migrating: bool) -> None:
        """Run missing migrations on SQLite, which has one server. Operators migrate other databases."""
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if not missing:
            return
        if connection.vendor != "sqlite" or not is_migrating:
            raise CannotStart(f"The database has {missing} unapplied migration(s). Run: manage.py migrate")
        self._write("Preparing the database…")
        # Not in this process: the models of all migrations would stay in its memory.
        command = [
            sys.executable,
            str(settings.BASE_DIR / "manage.py"),
            "migrate",
            "--no-input",
            "--verbosity=0",
        ]
        try:
            subprocess.run(command, check=True)  # noqa: S603 - no outside input
        except subprocess.CalledProcessError as error:
            raise CannotStart("The database could not be prepared. See the messages above.") from error

    def _greeting(self, url: str, opened: socket.socket, port: int) -> str:
        address, used_port = opened.getsockname()[:2]
        lines = []
        if port not in {0, used_port}:
            lines.append(f"Port {port} is taken. Using port {used_port} instead.")
        if listening.is_beyond_this_machine(opened):
            lines.append(BEYOND.format(address, ", ".join(settings.ALLOWED_HOSTS)))
        lines.append(f"Chatsite is running at {url}/ (stop with Ctrl-C)")
        if settings.PUBLIC_URL:
            lines.append(f"Listening on {address}, port {used_port}.")
        if not owner.can_sign_in():
            lines.append("Sign in as the owner with this link (valid once, for 15 minutes):")
            lines.append("  " + owner.link_for(owner.owner(), url))
        return "\n".join(lines)

    def _write(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _is_local_model_wanted() -> bool:
    return Endpoint.objects.filter(kind=Endpoint.Kind.EMBEDDED, is_enabled=True).exists()


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65_535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
