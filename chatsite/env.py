"""Typed reading of environment variables: each value is checked, and a wrong one stops the start.

Why not the package environs: it cannot export a `.env` file to `os.environ`, where the API keys of
endpoints are looked up by name. It also reads an empty value as a value instead of the default. The
messages, the ranges and the URL schemes would be ours in any case; it would only call `int` for us.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from chat.upstream.base_url import ending_of, without_ending
from chatsite.file_storage import EXAMPLE, bucket_options

YES = {"1", "true", "yes", "on"}
NO = {"0", "false", "no", "off"}

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Environment:
    """Environment variables by type. An empty value means the default.

    `names` collects every variable that was read. All methods raise ImproperlyConfigured with a message
    that names the variable and says what to write.
    """

    def __init__(self, values: Mapping[str, str] = os.environ) -> None:
        self._values = values
        self.names: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        self.names.add(name)
        return self._values.get(name, "").strip() or default

    def words(self, name: str, default: str = "") -> list[str]:
        """Return the values between commas."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self.text(name).lower()
        if value not in {"", *YES, *NO}:
            raise ImproperlyConfigured(f"{name}={value!r} is neither yes nor no. Use {name}=1 or {name}=0.")
        return value in YES if value else default

    def number[N: (int, float)](self, name: str, default: N, *, minimum: float, maximum: float) -> N:
        """Return a whole number if the default is one, otherwise a float."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = type(default)(value)
        except ValueError:
            number = None
        if number is None or not minimum <= number <= maximum:
            kind = "whole number" if isinstance(default, int) else "number"
            raise ImproperlyConfigured(f"{name}={value!r} is not a {kind} from {minimum:g} to {maximum:g}.")
        return number

    def choice(self, name: str, default: str, *others: str) -> str:
        """Return one of the given words, in lower case."""
        value = self.text(name, default).lower()
        if value not in {default, *others}:
            choices = ", ".join((default, *others))
            raise ImproperlyConfigured(f"{name}={value!r} is not one of: {choices}.")
        return value

    def url(self, name: str, *schemes: str) -> str:
        value = self.text(name)
        if value and not _is_url(value, schemes):
            # The value is not shown: it may contain a password.
            allowed = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ImproperlyConfigured(f"{name} is not a URL that starts with {allowed}.")
        return value

    def base_url(self, name: str) -> str:
        """Return the base URL of an API: what clients add to it must not be part of it."""
        value = self.url(name, "http", "https")
        if "?" in value or "#" in value:
            raise ImproperlyConfigured(f"{name} must not have a “?” or “#”. Remove it and what follows.")
        if ending := ending_of(value):
            right = "" if "@" in value else f" Use {name}={without_ending(value)}"
            raise ImproperlyConfigured(
                f"{name} must not end with {ending}, which is added for each request.{right}"
            )
        return value

    def bucket(self, name: str) -> dict[str, str]:
        """Return the options of a bucket; none if there is no value."""
        value = self.text(name)
        try:
            return bucket_options(value) if value else {}
        except ValueError as exc:
            raise ImproperlyConfigured(f"{name} {exc}. Use an address such as {EXAMPLE}.") from None

    def names_or_prefixes(self, name: str) -> list[str]:
        """Return names of environment variables. A name may end with `*`, after three characters or more."""
        found = self.words(name)
        for word in found:
            if not re.fullmatch(r"[A-Z_][A-Z0-9_]*|[A-Z][A-Z0-9_]{2,}\*", word):
                # The value is not shown: it may be a key in the wrong place.
                raise ImproperlyConfigured(f"{name} is not a list such as GROQ_API_KEY,MISTRAL_*.")
        return found

    def origins(self, name: str) -> frozenset[str]:
        """Return origins as browsers send them: scheme, host and port, without a path."""
        found = frozenset(word.rstrip("/").lower() for word in self.words(name))
        for origin in found:
            if not re.fullmatch(r"https?://[^/?#@\s]+", origin):
                raise ImproperlyConfigured(
                    f"{name}={origin!r} is not an origin. Use one such as https://app.example.org."
                )
        return found

    def networks(self, name: str) -> list[Network]:
        try:
            return [ipaddress.ip_network(word) for word in self.words(name)]
        except ValueError as exc:
            message = f"{name}: {exc}. Use addresses or networks, such as 10.0.0.0/8."
            raise ImproperlyConfigured(message) from exc


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        has_location = bool(parts.netloc) or parts.scheme == "sqlite"
        return parts.scheme in schemes and has_location and parts.port != 0  # `port` may raise, too
    except ValueError:
        return False
