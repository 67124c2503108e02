"""`manage.py fakeprovider`: a provider on loopback for rehearsing outages (docs/rehearse.md)."""

import asyncio
import contextlib
import ipaddress
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.fakeprovider import FakeProvider, listing


class Command(BaseCommand):
    help = "Run an OpenAI-compatible server with scripted faults. See docs/rehearse.md."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default %(default)s)")
        parser.add_argument("--port", type=int, default=9100, help="0: any free port (default %(default)s)")
        parser.add_argument(
            "--rate",
            type=float,
            default=50,
            help="deltas per second; 0: as fast as possible (default %(default)s)",
        )
        parser.add_argument("--key", default="", help="require this API key")
        parser.add_argument(
            "--tls", default="", metavar="PEM", help="speak https, with this certificate and key"
        )
        parser.add_argument("--seed", type=int, default=0, help="seed of random faults")
        parser.add_argument("--list", action="store_true", help="print all directives and exit")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self.stdout.write(listing.as_text())
            return
        try:
            is_loopback = ipaddress.ip_address(options["host"]).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise CommandError("The fake provider listens on loopback only: --host 127.0.0.1 or ::1.")
        chosen = {name: options[name] for name in ("host", "port", "rate", "key", "seed", "tls")}
        try:
            provider = FakeProvider(**chosen)
        except OSError as exc:
            raise CommandError(f"--tls {options['tls']}: no certificate with its private key: {exc}") from exc
        try:
            asyncio.run(self._serve(provider))
        except OSError as exc:
            raise CommandError(
                f"Cannot listen on port {options['port']}: {exc.strerror}. Try --port 0."
            ) from exc

    async def _serve(self, provider: FakeProvider) -> None:
        is_stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on loops
                loop.add_signal_handler(number, is_stopping.set)
        async with provider:
            self.stdout.write(provider.base_url)
            self.stdout.flush()
            await is_stopping.wait()
