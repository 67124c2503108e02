"""A service with the protocol of S3 (moto), as a process on this machine."""

import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from chat.attachments.bucket import BucketStorage
from chatsite.file_storage import bucket_options
from tests.support.programs import Program, free_port, is_listening, miss, running

KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret-4711"}


@dataclass(frozen=True)
class Bucket:
    """A new bucket at a running service, and what a server needs to use it."""

    endpoint: str
    name: str
    program: Program

    @property
    def address(self) -> str:
        return f"s3://{self.name}/files?endpoint={self.endpoint}&region=eu-1"

    @property
    def options(self) -> dict[str, str]:
        return bucket_options(self.address)

    @property
    def env_for_server(self) -> dict[str, str]:
        return {"CHATSITE_ATTACHMENTS": self.address, **KEYS}

    @cached_property
    def client(self) -> Any:
        return BucketStorage(**self.options).client

    def create(self) -> None:
        self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": "eu-1"})

    def names(self) -> set[str]:
        """Return the names of all objects, with the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {each["Key"] for page in pages for each in page.get("Contents", ())}


@contextlib.contextmanager
def run_service() -> Iterator[tuple[str, Program]]:
    """Start a private service; yield its address and its process."""
    if find_spec("moto") is None:
        miss("moto", "python3-moto, or: pip install -r requirements/dev.txt")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="chatsite-bucket-") as name:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with running(Program(command, folder=Path(name))) as program:
            program.until(lambda: is_listening(port), "the service to listen")
            yield f"http://127.0.0.1:{port}", program


@pytest.fixture(scope="session")
def bucket_service() -> Iterator[tuple[str, Program]]:
    with run_service() as service:
        yield service


@pytest.fixture
def bucket(bucket_service: tuple[str, Program], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Return a new, empty bucket, with the keys in the environment of the test."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    made = Bucket(bucket_service[0], f"test-{secrets.token_hex(6)}", bucket_service[1])
    made.create()
    return made
