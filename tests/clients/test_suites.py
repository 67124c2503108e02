"""Public test suites of the APIs that `/v1` implements, against a capable model behind it."""

import base64
import hashlib
import json
import shutil
import tarfile

import pytest

pytestmark = pytest.mark.clients
MODEL = "gpt-5-capable"
# Warnings that stay, with the reason why they say nothing about this API.
ACCEPTED = {
    "compact-response": "Compaction is optional: the suite accepts 404, and warns of what that lacks.",
    "catalog.declared-v2": "It reads a catalogue of one marketplace, which a server of one's own has not.",
}
CANARY = "compatcanary@0.2.2"
CANARY_SHA512 = "16AofE9bptzJHx4hGJs7KYAy8QvRGz2wpAcIB8Wc017o/+H0dZ9//AT1ywd3kNOC/5dkXqQnblsFwI7YqN/jSA=="
SCORE_MIN = 95


@pytest.mark.parametrize(("form", "count"), [("openai-chat", 9), ("open-responses", 13)])
def test_llm_comply(clients, form, count, tmp_path):
    report = report_of(clients, "llm-comply", "--format", form, "--json", cwd=tmp_path)
    results = report["results"]
    assert {each["id"]: each for each in results if each["status"] != "passed"} == {}
    assert len(results) == count
    warnings = {each["id"]: each["warnings"] for each in results if each.get("warnings")}
    assert {name: each for name, each in warnings.items() if name not in ACCEPTED} == {}


def test_provider_check(clients, tmp_path):
    options = ("--tier", "5", "--json", "-")
    report = report_of(clients, "trustedrouter-provider-check", *options, cwd=tmp_path)
    checks = {each["id"]: each for each in report["checks"]}
    assert {"tools.parallel-deltas", "tools.round-trip", "structured.json-schema"} <= set(checks)
    imperfect = {name: each for name, each in checks.items() if each["status"] != "pass"}
    assert {name: each for name, each in imperfect.items() if name not in ACCEPTED} == {}


def test_compatcanary(clients, tmp_path):
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        # With its four hundred packages, npm is not among the programs that CI installs.
        pytest.skip("npm is missing: apt-get install npm")
    fetched = clients.run(npm, "pack", CANARY, cwd=tmp_path)
    [archive] = tmp_path.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert digest == CANARY_SHA512, fetched.stderr
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    for profile in ("chat", "modern"):
        options = ("scan", "--profile", profile, "--format", "json", "--fail-on", "never")
        report = report_of(clients, node, "package/src/cli.js", *options, cwd=tmp_path)
        assert report["score"] >= SCORE_MIN, report


def report_of(clients, *command, cwd):
    """Run a suite and return the JSON that it prints."""
    options = ("--base-url", clients.api.base_url, "--api-key", clients.api.key, "--model", MODEL)
    done = clients.run(*command, *options, cwd=cwd)
    assert done.stdout.strip(), done.stderr
    return json.loads(done.stdout)
