"""A fuzzer generates requests from the OpenAPI document and validates the responses.

FUZZ_SEEDS=50 runs it with so many seeds; then FUZZ_EXAMPLES, per operation and seed, can be fewer.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.environment import repeats

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
DEADLINE_S = 240
FIRST_SEED, SEEDS = 7, int(os.environ.get("FUZZ_SEEDS", "1"))
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", str(repeats(60)))
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def operations(api):
    """Return how many pairs of a path and a method the document has, and the paths."""
    with urllib.request.urlopen(f"{api.base_url}/openapi.json") as reply:
        paths = json.load(reply)["paths"]
    return sum(len(METHODS & set(path)) for path in paths.values()), set(paths)


def fuzz(api, folder, seed):
    """Run the fuzzer once; return its output. The phase `coverage` is the same for every seed."""
    phases = "coverage,fuzzing" if seed == FIRST_SEED else "fuzzing"
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{api.base_url}/openapi.json"),
            *("--url", api.base_url, "--header", f"Authorization: Bearer {api.key}", "--checks", CHECKS),
            *("--seed", str(seed), "--max-examples", EXAMPLES, "--phases", phases, "--no-color"),
            *("--request-timeout", "20", "--generation-database", "none", "--workers", "1"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stdout[-6000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.thorough
def test_responses_to_generated_requests_match_the_openapi_document(api, tmp_path):
    api = api(CHATSITE_ASKS_PER_MINUTE_PER_KEY="100000")
    count, paths = operations(api)
    assert {"/responses", "/chat/completions", "/embeddings", "/files", "/batches"} <= paths
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        shown = fuzz(api, tmp_path, seed)
        print(f"seed {seed}: {re.findall(r'[0-9]+ generated.*', shown)}")
        assert re.search(rf"Operations:\s+{count} selected / {count} total", shown), shown[-3000:]
        tested = re.search(r"Tested:\s+(\d+)", shown)
        assert tested, shown[-3000:]
        assert int(tested[1]) == count, shown[-3000:]
