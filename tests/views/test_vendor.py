"""Vendored browser files match their manifest."""

import hashlib
import json
from pathlib import Path

VENDOR = Path(__file__).parents[2] / "static" / "vendor"


def test_every_vendored_file_has_its_hash_licence_and_version_in_the_manifest():
    entries = json.loads((VENDOR / "manifest.json").read_text())["files"]
    for entry in entries:
        assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["version"]
        assert entry["licence"]
        assert (VENDOR / entry["licence_file"]).is_file()
    named = {"manifest.json"} | {e["file"] for e in entries} | {e["licence_file"] for e in entries}
    assert {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} == named
