"""The listening socket of a server, and the URL that it prints."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from django.conf import settings
from django.http.request import validate_host

# If so many ports in a row are taken, something else is wrong.
PORTS_TRIED = 50
BACKLOG = 128


class CannotListen(Exception):
    """The server cannot listen. The message says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Listen on `port` or, if it is taken, on the next free one. Raises CannotListen."""
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        )[0]
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"{host} is not an address of this machine. Use --host 127.0.0.1.") from error
    for candidate in range(port, min(port + PORTS_TRIED, 65_536)):
        if (listening := _try_port(family, str(address[0]), candidate)) is not None:
            return listening
    raise CannotListen(f"Port {port} and the next ones are taken. Use another --port.")


def _try_port(family: int, host: str, port: int) -> socket.socket | None:
    """Return a listening socket, or None if the port is taken. Raises CannotListen."""
    if port and is_answered(family, host, port):
        return None
    listening = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        # Allows binding while closed connections are in TIME_WAIT. On Windows it would share a port in use.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            return None
        if error.errno == errno.EACCES:
            raise CannotListen(f"Port {port} needs elevated privileges. Use --port 8000.") from error
        raise CannotListen(f"Cannot listen on {host}: {error.strerror}.") from error
    return listening


def is_answered(family: int, host: str, port: int) -> bool:
    """Return whether a server accepts connections on a port.

    BSD systems allow binding to one address while another server listens on all addresses.
    """
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        return client.connect_ex((local, port)) == 0


def is_beyond_this_machine(listening: socket.socket) -> bool:
    """Return whether other machines can reach the socket."""
    return not ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def local_url(listening: socket.socket) -> str:
    """Return a URL of this server. Adds its host to ALLOWED_HOSTS if it is missing."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return f"http://{_allowed_name()}:{port}"
    shown = f"[{host}]" if ":" in host else host
    if not validate_host(shown, settings.ALLOWED_HOSTS):
        # Safe: it is the IP address given by --host, and DNS rebinding needs a name.
        settings.ALLOWED_HOSTS.append(shown)
    return f"http://{shown}:{port}"


def _allowed_name() -> str:
    names = [name for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))]
    return "127.0.0.1" if "127.0.0.1" in names or not names else names[0]
