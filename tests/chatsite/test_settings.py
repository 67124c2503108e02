"""The configuration is documented completely, and an invalid value is never accepted."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.support import environment

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "chatsite" / "settings.py"


def variables() -> dict[str, tuple[str, object]]:
    """Return every variable that settings.py reads: its kind and, where it is a plain value, its default."""
    found = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(ast.Name("env"), kind),
                args=[ast.Constant(str(name)), *rest],
                keywords=keywords,
            ):
                values = [*rest, *(keyword.value for keyword in keywords if keyword.arg == "default")]
                plain = [value.value for value in values if isinstance(value, ast.Constant)]
                if name not in found:
                    found[name] = (kind, plain[0] if plain and kind != "url" else None)
    return found


VARIABLES = variables()
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", (ROOT / "README.md").read_text(), re.M))

# Any text is valid for these; a wrong value shows where it is used.
FREE = {
    "CHATSITE_SECRET_KEY",
    "CHATSITE_ALLOWED_HOSTS",
    "OPENAI_API_KEY",
    "OPENAI_MODEL",
}
INVALID = {
    "CHATSITE_DATA_DIR": ["/dev/null/here"],
    "CHATSITE_SQLITE_SYNCHRONOUS": ["sometimes"],
    "CHATSITE_LOG_LEVEL": ["loud"],
    "CHATSITE_RECOVERY": ["maybe"],
    "CHATSITE_TIME_ZONE": ["Nowhere/Else"],
}
BY_KIND = {
    "bucket": [
        "attachments",
        "https://s3.example.org/bucket",
        "s3://",
        "s3://key:secret@bucket",
        "s3://[",
        "s3://bucket?endpoint=s3.example.org",
        "s3://bucket?endpoint=https://key:secret@s3.example.org",
        "s3://bucket?zone=1",
        "s3://bucket?style=old",
        "s3://bucket?region",
    ],
    "names_or_prefixes": ["*", "A*", "groq_key", "A_*_KEY", "GROQ KEY", "sk-123"],
    "boolean": ["perhaps", "2"],
    "origins": ["*", "app.example.org", "https://a/b", "ftp://a"],
    "number": ["many", "-1", "1e99", "nan", "9999999999"],
    "networks": ["proxy", "127.0.0.1/8", "10.0.0.0/33", "127.0.0.1 10.0.0.1"],
    "base_url": [
        "example.org",
        "ftp://example.org",
        "http://example.org/v1/chat/completions",
        "http://a/v1?x=1",
    ],
    "url": [
        "example.org",
        "ftp://example.org",
        "http://[",
        "redis://here:port",
        "postgres://here:port/x",
    ],
}


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Return a function that runs settings.py with an environment and returns what it defines."""

    def run(environ):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"CHATSITE_DATA_DIR": str(tmp_path / "data")} | environ).items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(SETTINGS))

    return run


def test_every_variable_is_in_the_readme():
    assert set(VARIABLES) - set(ROWS) == set()


def test_the_readme_names_no_variable_that_is_not_read():
    assert set(ROWS) - set(VARIABLES) == set()


@pytest.mark.parametrize(
    "name",
    [name for name, (kind, default) in VARIABLES.items() if kind == "number" and default is not None],
)
def test_the_readme_has_the_default(name):
    assert float(ROWS[name].strip("`").replace(",", "")) == VARIABLES[name][1]


def test_the_defaults_are_a_complete_configuration(load):
    settings = load({})
    assert settings["DATABASES"]["default"]["ENGINE"] == "django.db.backends.sqlite3"
    assert settings["EMBEDDED_MODEL_IS_WANTED"] is True
    assert settings["DEBUG"] is False


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"])
def test_with_a_model_configured_the_demo_model_is_not_wanted(load, name):
    assert load({name: "http://127.0.0.1:1/v1"})["EMBEDDED_MODEL_IS_WANTED"] is False


def test_the_secret_key_survives_a_restart(load):
    assert load({})["SECRET_KEY"] == load({})["SECRET_KEY"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, (kind, _) in VARIABLES.items()
        for value in INVALID.get(name, BY_KIND.get(kind, []))
    ],
)
def test_an_invalid_value_stops_the_program_and_names_the_variable(load, name, value):
    with pytest.raises(ImproperlyConfigured, match=name):
        load({name: value})


def test_every_variable_is_tested_with_invalid_values():
    checked = {name for name, (kind, _) in VARIABLES.items() if kind in BY_KIND} | set(INVALID)
    assert set(VARIABLES) - checked == FREE


def test_a_password_in_a_wrong_url_is_not_shown(load):
    with pytest.raises(ImproperlyConfigured) as caught:
        load({"DATABASE_URL": "mysql://root:hunter2@here/x"})
    assert "hunter2" not in str(caught.value)


def test_a_hanging_process_loses_its_locks_on_postgresql_when_it_counts_as_dead(load):
    url = "postgres://here/x?sslmode=require&options=-c%20jit%3Doff"
    settings = load({"DATABASE_URL": url, "CHATSITE_PROCESS_DEAD_AFTER_S": "3"})
    options = settings["DATABASES"]["default"]["OPTIONS"]
    assert options["options"] == "-c jit=off -c idle_in_transaction_session_timeout=3000"
    assert options["sslmode"] == "require"


def test_the_message_is_one_line():
    environ = environment.cleaned({"PATH": "/usr/bin:/bin"}) | {"CHATSITE_DEBUG": "perhaps"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "CHATSITE_DEBUG='perhaps'" in done.stderr


def test_the_example_has_only_existing_variables_and_sets_none():
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    assert set(re.findall(r"^# ?([A-Z_]+)=", "\n".join(lines), re.M)) <= set(VARIABLES)
