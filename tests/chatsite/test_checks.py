"""Variables without effect are warned about: spelling mistakes, and settings that are constants now."""

import re
import subprocess
import sys

from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command

from chatsite import checks
from tests.support import environment


def warnings():
    return [warning.msg for warning in run_checks(tags=[checks.TAG])]


def test_a_correct_environment_has_no_warning(monkeypatch):
    for name in settings.ENVIRONMENT_VARIABLES:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CHATSITE_TEST_DATABASE_URL", "postgres://here/x")
    assert warnings() == []


def test_a_spelling_mistake_is_named_with_what_was_meant(monkeypatch):
    monkeypatch.setenv("CHATSITE_DRIAN_S", "20")
    (warning,) = warnings()
    assert warning.startswith("CHATSITE_DRIAN_S has no effect")
    assert "CHATSITE_DRAIN_S" in warning


def test_a_name_that_resembles_nothing_is_named(monkeypatch):
    monkeypatch.setenv("CHATSITE_FAVOURITE_COLOUR", "green")
    assert warnings() == [
        "CHATSITE_FAVOURITE_COLOUR has no effect: there is no such setting. The README lists all settings."
    ]


def test_every_removed_setting_says_that_it_is_a_constant_now(monkeypatch):
    for name in checks.REMOVED:
        monkeypatch.setenv(name, "1")
    texts = warnings()
    assert len(texts) == len(checks.REMOVED)
    assert all("has no effect: it is a constant now" in text for text in texts)


def test_no_removed_setting_is_read():
    assert not checks.REMOVED & settings.ENVIRONMENT_VARIABLES


def test_the_environment_is_checked_without_the_value_being_shown(monkeypatch):
    monkeypatch.setenv("CHATSITE_SECRET", "hunter2")
    assert "hunter2" not in "".join(warnings())


def test_manage_py_prints_the_warning():
    environ = environment.cleaned({"PATH": "/usr/bin:/bin"}) | {"CHATSITE_BREAKER_OPEN_S": "5"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert re.search(r"\(chatsite\.W001\) CHATSITE_BREAKER_OPEN_S has no effect", done.stderr)


def test_serve_prints_the_warning_and_starts(serve):
    server = serve({"CHATSITE_RUNING_PER_USER": "5"})
    assert "CHATSITE_RUNING_PER_USER has no effect" in server.log
    assert "Did you mean CHATSITE_RUNNING_PER_USER?" in server.log


def test_no_migration_is_missing(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
