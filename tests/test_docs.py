"""The documents are correct: the frames and events of the socket, exit codes, commands to run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chat import events
from chat.management import exits
from chat.websocket import frames

ROOT = Path(__file__).resolve().parent.parent
SOCKET = (ROOT / "docs/socket.md").read_text()


def tags(union):
    return {kind.__struct_config__.tag for kind in union.__value__.__args__}


def test_every_frame_and_every_event_is_described():
    for tag in tags(frames.ClientFrame) | tags(frames.ServerFrame) | tags(events.Event):
        assert f"| `{tag}` |" in SOCKET, tag


def test_every_field_of_an_event_is_described():
    for kind in events.Event.__value__.__args__:
        line = next(line for line in SOCKET.splitlines() if f"| `{kind.__struct_config__.tag}` |" in line)
        for name in kind.__struct_fields__:
            assert f"`{name}`" in line, (kind, name)


def test_every_code_of_a_refusal_over_the_socket_is_listed():
    names = ("conversation", "message", "limits", "client_id", "catalog")
    sources = ["chat/websocket/frames.py", "chat/websocket/consumer.py"]
    sources += [f"chat/models/{name}.py" for name in names]
    code = "".join((ROOT / source).read_text() for source in sources)
    for name in re.findall(r'RequestRefused\(\s*"(\w+)"', code):
        assert f"`{name}`" in SOCKET, name


def test_every_exit_code_is_listed():
    patterns = (ROOT / "docs/patterns.md").read_text()
    for each in exits.Exit:
        meaning = each.meaning.replace("stderr", "standard error")
        assert f"| {each} | {meaning} |" in patterns


def blocks_to_run(document):
    """Return the shell blocks of a document that are marked to be run."""
    text = (ROOT / document).read_text()
    return re.findall(r"<!-- run -->\n```sh\n(.*?)```", text, re.S)


BLOCKS = [(name, block) for name in ("README.md", "docs/patterns.md") for block in blocks_to_run(name)]


@pytest.mark.parametrize(("document", "block"), BLOCKS)
def test_a_block_to_run_works(serve, provider, tmp_path, document, block):
    """Run it in a folder of links to the checkout, where it may write files."""
    server = serve(provider.env_for_server | {"OPENAI_MODEL": "gpt-4o-mini"})
    folder = tmp_path / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in {".venv", "data"}:
            (folder / path.name).symlink_to(path)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / ".venv/bin/python").chmod(0o755)
    script = block.replace("http://127.0.0.1:8000", server.base_url)

    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=server.env | {"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "failed:" not in done.stdout, done.stderr
    assert "error" not in done.stderr.lower()


def test_the_proofs_of_the_guarantees_exist():
    """Each `make test` of the README's table names files that exist, and words of names of tests."""
    readme = (ROOT / "README.md").read_text()
    names = " ".join(
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    )
    proofs = re.findall(r'`make test ARGS="(.*?)"`', readme)
    assert len(proofs) == 7
    for arguments in proofs:
        for path in re.findall(r"tests/[\w/.]+", arguments):
            assert (ROOT / path).exists(), path
        for word in re.findall(r"\b[a-z]+_[a-z_]+\b", re.sub(r"tests/\S+", "", arguments)):
            assert word in names, word


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_inside_the_repository_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        path, _hash, anchor = target.partition("#")
        linked = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, (
                target
            )
