"""Collects static files if one of them has changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

# They determine how files are named, rewritten and compressed.
PACKAGES = ("django", "servestatic")


def are_collected() -> bool:
    """Return whether STATIC_ROOT is up to date with sources, packages and settings."""
    if settings.DEBUG:
        return True  # they are served from their sources
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    return (
        manifest.exists()
        and _fingerprint_file().exists()
        and _fingerprint_file().read_text() == _fingerprint()
    )


def collect() -> None:
    """Collect static files and store the fingerprint of their sources. Raises CalledProcessError.

    Runs in a child process: compression takes 40 MB of memory, which a server would keep.
    """
    _fingerprint_file().unlink(missing_ok=True)
    command = ["collectstatic", "--no-input", "--skip-checks", "--verbosity", "0"]
    subprocess.run(  # noqa: S603 - no outside input
        [sys.executable, "-m", "django", *command, "--settings", settings.SETTINGS_MODULE],
        cwd=settings.BASE_DIR,
        check=True,
    )
    _fingerprint_file().write_text(_fingerprint())


def _fingerprint_file() -> Path:
    return Path(settings.STATIC_ROOT).with_suffix(".made-from")


def _fingerprint() -> str:
    """Return a digest of the names, sizes and times of all sources, of package versions and settings.

    Package versions are included because installers may keep old file times.
    """
    digest = hashlib.sha256(repr([version(name) for name in PACKAGES]).encode())
    digest.update(repr(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
