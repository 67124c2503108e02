"""The child process: what it gives, and that it is bounded whatever a file does."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from chat.attachments.extraction.run import extract
from chat.attachments.extraction.types import ExtractionRefused, Limits
from tests.support.programs import until

ROOT = Path(__file__).resolve().parents[3]


def open_descriptors() -> int:
    return sum(1 for _each in Path("/dev/fd").iterdir())


async def refusal_of(path, name="file", **limits):
    with pytest.raises(ExtractionRefused) as caught:
        await extract(path, name, "", limits=Limits(**limits))
    return caught.value


async def test_a_text_comes_back_as_it_is_and_a_picture_encoded_again(tmp_path: Path):
    text, picture = tmp_path / "text", tmp_path / "picture"
    text.write_bytes("Grüße\r\nund mehr".encode())
    Image.new("RGB", (3000, 1500), "red").save(picture, "JPEG")

    read, seen = await asyncio.gather(
        extract(text, "notes.txt", "text/plain"), extract(picture, "photo.jpg", "image/jpeg")
    )

    assert (read.kind, read.media_type, read.text) == ("text", "text/plain", "Grüße\nund mehr")
    (image,) = seen.images
    assert (seen.kind, image.media_type, image.width, image.height) == ("image", "image/jpeg", 2048, 1024)


async def test_a_file_that_takes_too_long_is_given_up_and_says_so(tmp_path: Path):
    path = tmp_path / "picture"
    Image.new("RGB", (3000, 1500), "red").save(path, "JPEG")

    assert (await refusal_of(path, seconds=0.001)).code == "too_slow"


async def test_a_file_that_needs_more_memory_than_allowed_is_refused_in_words(tmp_path: Path):
    path = tmp_path / "picture"
    Image.new("RGB", (6000, 6000), "red").save(path, "PNG")

    refusal = await refusal_of(path, memory_bytes=150 * 1024 * 1024)

    assert "memory" in refusal.message


async def test_output_is_bounded(tmp_path: Path):
    path = tmp_path / "text"
    path.write_bytes(b"word " * 10_000)

    assert (await refusal_of(path, output_max_bytes=1_000)).code == "too_large"


@pytest.mark.parametrize(("content", "code"), [(b"", "empty"), (b"12345", "too_large")])
async def test_an_empty_and_a_too_large_file_start_no_process(tmp_path: Path, content: bytes, code: str):
    path = tmp_path / "file"
    path.write_bytes(content)

    assert (await refusal_of(path, file_max_bytes=4)).code == code


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_the_child_knows_no_secret_and_ends_with_its_parent(tmp_path: Path):
    path = tmp_path / "page.html"
    path.write_bytes(b"<a><b><i><table>" * 60_000)  # many seconds of work
    run = f"asyncio.run(extract(pathlib.Path({str(path)!r}), 'page.html', ''))"
    code = f"import asyncio, pathlib; from chat.attachments.extraction.run import extract; {run}"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"OPENAI_API_KEY": "secret-of-the-site"}
    )
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        until(children.read_text, "the child")
        child = Path(f"/proc/{children.read_text().split()[0]}")
        until(lambda: b"extraction.child" in (child / "cmdline").read_bytes(), "the program of the child")
        environment = (child / "environ").read_bytes()
    finally:
        parent.kill()
        parent.wait()

    until(lambda: not child.exists() or "(zombie)" in (child / "status").read_text(), "the end of the child")
    assert b"secret-of-the-site" not in environment


async def test_many_files_leave_no_open_pipe_and_load_no_library(tmp_path: Path):
    path = tmp_path / "text"
    path.write_bytes(b"words")
    before = open_descriptors()

    await asyncio.gather(*(extract(path, "a.txt", "") for _each in range(6)))
    with pytest.raises(ExtractionRefused):
        await extract(path, "a.txt", "", limits=Limits(seconds=0.001))

    assert open_descriptors() <= before + 1  # one for the watcher of processes
    libraries = "{'PIL', 'pypdfium2', 'justhtml'}"
    code = f"import sys, chat.attachments.extraction.run; print({libraries} & {{*sys.modules}})"
    done = await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", code], cwd=ROOT, text=True)
    assert done.strip() == "set()"
