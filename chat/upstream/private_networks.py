"""Whether an endpoint is in a private network, by its URL alone: no name is resolved."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home", ".home.arpa", ".intranet", ".corp")


def is_private(base_url: str) -> bool:
    """Return whether a URL names this machine or one in a private network.

    That is a private, link-local or loopback address, a name without a dot, or one in a domain that is not
    public. A URL that cannot be read is not private.
    """
    try:
        host = (urlsplit(base_url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_SUFFIXES))
    return not address.is_global
