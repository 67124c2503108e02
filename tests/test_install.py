"""The installer: which Python it uses, what it installs when, and what an interrupted run leaves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parent.parent / "requirements"


class Checkout:
    """A folder with the installer and a `.venv` whose Python records the calls of pip."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copytree(REQUIREMENTS, folder / "requirements")
        self.calls = folder / "calls"
        self.broken = folder / "broken"
        (folder / ".venv/bin").mkdir(parents=True)
        script(
            folder / ".venv/bin/python",
            f"""case $* in
            *"-m pip"*) echo "$*" >> {self.calls}; ! grep -qs "$(expr "$*" : '.*/\\(.*\\)')" {self.broken} ;;
            *ensurepip*) ;;
            *) exec {sys.executable} "$@" ;;
            esac""",
        )

    def install(self, what: str, **environ: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | environ
        return subprocess.run(
            ["/bin/sh", "requirements/install", what],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def installed(self) -> list[str]:
        return [Path(line.split()[-1]).name for line in self.calls.read_text().splitlines()]


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_every_package_is_checked_against_its_hash(checkout):
    assert checkout.install("run").returncode == 0
    calls = checkout.calls.read_text().splitlines()
    assert len(calls) == 2
    assert all("--require-hashes" in call for call in calls)


def test_a_second_run_installs_nothing(checkout):
    checkout.install("run")
    assert checkout.install("run").stderr == ""
    assert checkout.installed() == []


def test_the_test_packages_include_those_for_running(checkout):
    checkout.install("run")
    checkout.install("test")
    assert checkout.installed() == ["dev.txt", "model.txt"]
    checkout.install("run")
    assert checkout.installed() == []


@pytest.mark.parametrize("switch", ["DATABASE_URL", "REDIS_URL"])
def test_a_scale_switch_brings_its_packages(checkout, switch):
    checkout.install("run")
    checkout.install("run", **{switch: "set"})
    assert checkout.installed() == ["scale.txt", "model.txt"]


def test_a_bucket_for_attachments_brings_its_packages(checkout):
    checkout.install("run")
    checkout.install("run", CHATSITE_ATTACHMENTS="s3://files", DATABASE_URL="set")
    assert checkout.installed() == ["bucket.txt", "model.txt"]
    checkout.install("run", DATABASE_URL="set")
    assert checkout.installed() == []
    (checkout.folder / ".env").write_text("CHATSITE_ATTACHMENTS=s3://files\n")
    checkout.install("run")
    assert checkout.installed() == []


def test_a_scale_switch_in_the_env_file_counts_too(checkout):
    (checkout.folder / ".env").write_text("# REDIS_URL=no\nDATABASE_URL=postgres://here\n")
    checkout.install("run")
    assert checkout.installed() == ["scale.txt", "model.txt"]


def test_a_changed_lock_file_is_installed(checkout):
    checkout.install("run")
    with (checkout.folder / "requirements/base.txt").open("a") as file:
        file.write("# changed\n")
    checkout.install("run")
    assert checkout.installed() == ["base.txt", "model.txt"]


def test_an_interrupted_run_is_completed_by_the_next(checkout):
    checkout.broken.write_text("base.txt")
    assert checkout.install("run").returncode != 0
    checkout.broken.unlink()
    assert checkout.install("run").returncode == 0
    assert checkout.installed() == ["base.txt", "model.txt"]


def test_without_packages_for_the_model_it_says_so_and_continues(checkout):
    checkout.broken.write_text("model.txt")
    first = checkout.install("run")
    again = checkout.install("run")
    assert first.returncode == again.returncode == 0
    assert "THE EMBEDDED DEMO MODEL IS NOT INSTALLED" in first.stderr
    assert "THE EMBEDDED DEMO MODEL IS NOT INSTALLED" in again.stderr
    assert checkout.installed() == []
    checkout.broken.unlink()
    assert checkout.install("model").returncode == 0
    assert checkout.install("run").stderr == ""


def test_shims_that_cannot_run_are_skipped(checkout):
    shims, real = checkout.folder / "shims", checkout.folder / "real"
    script(shims / "python3.13", "echo no such version >&2; exit 127")
    script(shims / "python3.12", "exit 127")
    script(real / "python3", f'exec {sys.executable} "$@"')

    found = checkout.install("python", PATH=f"{shims}:{real}:{tools(checkout.folder)}")

    assert found.stdout.strip() == str(real / "python3")


def test_the_folders_of_version_managers_are_searched(checkout):
    script(checkout.folder / ".pyenv/versions/3.13.9/bin/python3.13", f'exec {sys.executable} "$@"')
    script(checkout.folder / "bin/python3.13", "exit 127")
    found = checkout.install("python", PATH=f"{checkout.folder}/bin:{tools(checkout.folder)}")
    assert found.stdout.strip().endswith(".pyenv/versions/3.13.9/bin/python3.13")


def test_a_requested_python_that_does_not_work_is_named_in_one_line(checkout):
    script(checkout.folder / "old", "exit 1")
    refused = checkout.install("python", PYTHON=str(checkout.folder / "old"))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "PYTHON=" in refused.stderr


def tools(folder: Path) -> Path:
    """Return a folder with the few programs that the installer uses, and no Python."""
    for name in ("sh", "tr", "cat", "cksum", "grep", "sed", "dirname"):
        (folder / "tools").mkdir(exist_ok=True)
        (folder / "tools" / name).symlink_to(shutil.which(name) or "")
    return folder / "tools"


def test_no_lock_file_names_a_host():
    for path in REQUIREMENTS.glob("*.txt"):
        text = path.read_text()
        assert "://" not in text, path
        options = [line.split()[0] for line in text.splitlines() if line.startswith("-")]
        assert options == [], f"{path} has options: a host may hide in them"
        assert "--hash=sha256:" in text
