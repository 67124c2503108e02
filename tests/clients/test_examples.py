"""The examples of the pages about the API run as written, with the newest versions of unmodified clients."""

import pytest

from tests.clients.examples import code_of, examples

# What each program prints if its client did all of it: structured answers, calls and their results.
SHOWN = {
    "openai": ["name='a name' inhabitants=7", "434000", "inhabitants=434000"],
    "pydantic-ai": ["name='a name'", "name='a name'"],
    "openai-agents": ["434000"],
    "langchain": ["434000", "434000", "434000"],
    "instructor": ["a name 7"],
    "litellm": ["\n"],
}


def test_every_example_is_listed_and_is_a_program():
    assert list(examples("python")) == list(SHOWN)
    for client, code in examples("python").items():
        compile(code, client, "exec")


@pytest.mark.clients
@pytest.mark.parametrize("client", SHOWN)
def test_an_example_runs(clients, client, tmp_path):
    done = clients.run("python", "-c", examples("python")[client], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    rest = done.stdout
    for wanted in SHOWN[client]:
        _before, found, rest = rest.partition(wanted)
        assert found, (wanted, done.stdout)


@pytest.mark.clients
@pytest.mark.parametrize("page", ["api.md", "responses.md"])
def test_the_pages_of_the_api_run_with_the_newest_openai_library(clients, page, tmp_path):
    code = code_of(page).replace('"fake"', '"fake-capable"').replace('"fake:second"', '"gpt-5-capable"')
    done = clients.run("python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


@pytest.mark.clients
def test_llm_calls_a_tool(clients, tmp_path):
    [settings] = examples("yaml").values()
    settings = settings.replace("http://127.0.0.1:8000/v1", clients.api.base_url)
    (tmp_path / "extra-openai-models.yaml").write_text(settings)
    (tmp_path / "keys.json").write_text(f'{{"chatsite": "{clients.api.key}"}}')
    [command] = examples("sh").values()
    done = clients.run("sh", "-c", command, env={"LLM_USER_PATH": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The result is:" in done.stdout
    assert "utc_time" in done.stdout
