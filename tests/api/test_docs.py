"""The examples of docs/api.md run, and its table lists every error code."""

import re
import subprocess
import sys
from pathlib import Path

from chat.api.errors import CODE_OF, STATUS_OF

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_examples_run(api):
    api = api()
    env = {"OPENAI_BASE_URL": api.base_url, "OPENAI_API_KEY": api.key, "PATH": "/usr/bin:/bin"}
    options = {"env": env, "capture_output": True, "text": True, "timeout": 60}
    python = subprocess.run([sys.executable, "-c", "\n".join(blocks("python"))], **options)
    assert python.returncode == 0, python.stderr
    first, second = python.stdout.splitlines()[-2:]
    assert first == second
    shell = subprocess.run(["sh", "-euc", "\n".join(blocks("sh"))], **options)
    assert shell.returncode == 0, shell.stderr
    assert '"object":"chat.completion"' in shell.stdout
    assert "event: completed" in shell.stdout


def test_the_examples_of_responses_run(api):
    api = api()
    env = {"OPENAI_BASE_URL": api.base_url, "OPENAI_API_KEY": api.key, "PATH": "/usr/bin:/bin"}
    page = (Path(__file__).resolve().parents[2] / "docs/responses.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code += "assert client.responses.retrieve(response_id).output_text == shown"
    code = code.replace("for event in stream:", "shown = ''\nfor event in stream:").replace(
        'print(event.delta, end="")', "shown += event.delta"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_its_table_names_every_code_and_its_status():
    internal = {"internal", "not_stored", "timeout"}
    for code, status in STATUS_OF.items():
        shown = CODE_OF.get(code, code)
        if code not in internal:
            lines = [line for line in PAGE.splitlines() if line.startswith("|") and f"`{shown}`" in line]
            assert any(str(status) in line.split("|")[1] for line in lines), shown


def test_the_readmes_example_runs(api):
    api = api()
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    [code] = re.findall(r"```python\n(from openai.*?)```", readme, re.DOTALL)
    code = code.replace("http://127.0.0.1:8000/v1", api.base_url).replace("cs-…", api.key)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
