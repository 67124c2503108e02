"""Collecting static files when, and only when, one of them has changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

# What decides how a file is named, rewritten and compressed.
PACKAGES = ("django", "servestatic")


def are_collected() -> bool:
    """Say whether STATIC_ROOT holds what the sources, the packages and the settings would give now."""
    if settings.DEBUG:
        return True  # served from where they are
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    return manifest.exists() and _note().exists() and _note().read_text() == _fingerprint()


def collect() -> None:
    """Collect static files and note what they were made from. Raises CalledProcessError.

    In a process of its own: compressing takes 40 MB that a server would never give back.
    """
    _note().unlink(missing_ok=True)
    command = ["collectstatic", "--no-input", "--skip-checks", "--verbosity", "0"]
    subprocess.run(  # noqa: S603 - no word of it comes from outside
        [sys.executable, "-m", "django", *command, "--settings", settings.SETTINGS_MODULE],
        cwd=settings.BASE_DIR,
        check=True,
    )
    _note().write_text(_fingerprint())


def _note() -> Path:
    return Path(settings.STATIC_ROOT).with_suffix(".made-from")


def _fingerprint() -> str:
    """Sum up names, sizes and times of all sources; packages keep old times, hence their versions too."""
    sums = hashlib.sha256(repr([version(name) for name in PACKAGES]).encode())
    sums.update(repr(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            sums.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return sums.hexdigest()
