"""Collecting static files when, and only when, one of them has changed."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

# What decides how a file is named, rewritten and compressed.
PACKAGES = ("django", "servestatic")


def are_collected() -> bool:
    """Say whether STATIC_ROOT holds what the sources, the packages and the settings would give now."""
    if settings.DEBUG:
        return True  # served from where they are
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    return manifest.exists() and _note().exists() and _note().read_text() == _fingerprint()


def collect() -> None:
    """Collect static files and note what they were made from."""
    _note().unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0)
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
