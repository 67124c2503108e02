"""One server with a capable fake model for all public clients, and the environment that they are in."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.conftest import Api
from tests.support.provider_control import control
from tests.support.serving import BASE_DIR, providing, serving

# Suites test reasoning only if the name of the model is one that reasons.
MODELS = "fake-capable,gpt-5-capable"
DEADLINE_S = 180


@dataclass(frozen=True)
class Clients:
    """The running server, and the virtual environment of the clients."""

    api: Api
    programs: Path

    def run(self, program, *arguments, env=None, cwd):
        """Run a program as a user would who has exported the two variables; return what it did."""
        own = {
            "OPENAI_BASE_URL": self.api.base_url,
            "OPENAI_API_KEY": self.api.key,
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(cwd),
        }
        options = {"capture_output": True, "text": True, "timeout": DEADLINE_S}
        return subprocess.run([program, *arguments], env=own | (env or {}), cwd=cwd, **options)


@pytest.fixture(scope="session")
def clients(tmp_path_factory, prepared_data):
    programs = BASE_DIR / (os.environ.get("VENV", ".venv") + "-clients") / "bin"
    if not programs.exists():
        pytest.fail(f"{programs} is missing: run these tests by `make clients-test`", pytrace=False)
    folder = tmp_path_factory.mktemp("clients")
    (folder / "servers").mkdir()
    with providing(folder / "provider") as provider, serving(folder / "servers", prepared_data) as serve:
        control(provider, "script", {"do": "capable", "times": 100_000})
        limits = {"CHATSITE_ASKS_PER_MINUTE_PER_KEY": "100000"}
        server = serve(provider.env_for_server | {"OPENAI_MODEL": MODELS} | limits)
        server.sign_in()
        yield Clients(Api(server, provider), programs)
