"""A fuzzer generates requests from the OpenAPI document and validates the responses."""

import subprocess
import sys
from pathlib import Path

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
DEADLINE_S = 240


def test_responses_to_generated_requests_match_the_openapi_document(api, tmp_path):
    api = api(CHATSITE_ASKS_PER_MINUTE_PER_KEY="100000")
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{api.base_url}/openapi.json"),
            *("--url", api.base_url, "--header", f"Authorization: Bearer {api.key}", "--checks", CHECKS),
            *("--seed", "7", "--max-examples", "40", "--phases", "coverage,fuzzing", "--no-color"),
            *("--request-timeout", "20", "--generation-database", "none", "--workers", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
