"""The socket a server listens on, and the address people are told."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from django.conf import settings
from django.http.request import validate_host

# After this many taken ports something else is wrong.
PORTS_TRIED = 50
BACKLOG = 128


class CannotListen(Exception):
    """No socket could be opened; the message says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Listen on `port`, or on the next one that is free. Raises CannotListen."""
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        )[0]
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"{host} is no address of this machine: give --host 127.0.0.1.") from error
    for candidate in range(port, min(port + PORTS_TRIED, 65_536)):
        if (found := _try(family, str(address[0]), candidate)) is not None:
            return found
    raise CannotListen(f"Port {port} and those after it are taken: give another --port.")


def _try(family: int, host: str, port: int) -> socket.socket | None:
    """Return a socket that listens, None if something else has the port. Raises CannotListen."""
    if port and _is_answered(family, host, port):
        return None
    listening = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        # Elsewhere it would let us steal the port. Here: bind in spite of connections that linger.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            return None
        if error.errno == errno.EACCES:
            raise CannotListen(
                f"Port {port} may not be used without privileges: give --port 8000."
            ) from error
        raise CannotListen(f"Cannot listen on {host}: {error.strerror}.") from error
    return listening


def _is_answered(family: int, host: str, port: int) -> bool:
    """Say whether somebody answers there: BSDs let us bind beside a server that listens everywhere."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        return client.connect_ex((local, port)) == 0


def is_beyond_this_machine(listening: socket.socket) -> bool:
    """Say whether other machines can reach the socket."""
    return not ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def local_url(listening: socket.socket) -> str:
    """Return a URL that this server answers under, and make sure that Django accepts its host."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return f"http://{_allowed_name()}:{port}"
    shown = f"[{host}]" if ":" in host else host
    if not validate_host(shown, settings.ALLOWED_HOSTS):
        # The very address that was asked for; no site's name can be pointed at it.
        settings.ALLOWED_HOSTS.append(shown)
    return f"http://{shown}:{port}"


def _allowed_name() -> str:
    names = [name for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))]
    return "127.0.0.1" if "127.0.0.1" in names or not names else names[0]
