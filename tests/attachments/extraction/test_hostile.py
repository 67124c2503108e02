"""Files that want to do harm: each is read harmlessly or refused in words, and nothing leaves the machine."""

import asyncio
import socket
from pathlib import Path

import pytest

from chat.attachments.extraction.run import extract
from chat.attachments.extraction.types import Extracted, ExtractionRefused, Limits
from tests.attachments.extraction import hostile_documents, hostile_files
from tests.attachments.extraction.hostile import HostileFile

GROUPS = {
    "pdf": hostile_documents.pdf_files,
    "word": hostile_documents.word_files,
    "documents": hostile_documents.other_documents,
    "pictures": hostile_files.pictures,
    "texts": hostile_files.texts,
    "disguised": hostile_files.disguised,
}
# A machine that is busy needs long for many.
PARTS = 3
CODES = {"empty", "too_large", "unsupported", "encrypted", "damaged", "unsafe", "too_slow"}


@pytest.fixture(scope="module")
def listener():
    """A server that no file may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def groups(listener) -> dict[str, list[HostileFile]]:
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/secret"
    return {name: group(address) for name, group in GROUPS.items()}


async def outcome_of(case: HostileFile, path: Path) -> Extracted | ExtractionRefused:
    await asyncio.to_thread(path.write_bytes, case.content)
    try:
        return await extract(path, case.name, "", limits=Limits(**case.limits))
    except ExtractionRefused as exc:
        return exc


def problem_with(case: HostileFile, outcome: Extracted | ExtractionRefused) -> str:
    """Return what is wrong with an outcome, or nothing."""
    if isinstance(outcome, ExtractionRefused):
        is_expected = case.refused == outcome.code or not (case.refused or case.note or case.text)
        if not (is_expected and outcome.code in CODES and outcome.message.endswith((".", "”."))):
            return f"refused as {outcome.code}: {outcome.message}"
        return ""
    if case.refused:
        return f"was read: {outcome.text[:80]!r}"
    if case.note and not any(case.note in note for note in outcome.notes):
        return f"says only {outcome.notes}"
    if case.text not in outcome.text:
        return f"has the text {outcome.text[:80]!r}"
    if b"script" in b"".join(image.data for image in outcome.images):
        return "has a script in its picture"
    return "" if len(outcome.text) <= Limits().text_max_chars else "has too much text"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("group", GROUPS)
async def test_hostile_files_do_no_harm_and_say_why(group: str, part: int, groups, tmp_path: Path, listener):
    cases = groups[group][part::PARTS]

    outcomes = await asyncio.gather(
        *(outcome_of(case, tmp_path / str(number)) for number, case in enumerate(cases))
    )

    problems = {
        case.label: problem
        for case, outcome in zip(cases, outcomes, strict=True)
        if (problem := problem_with(case, outcome))
    }
    assert not problems
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_there_are_many_of_them(groups):
    assert sum(map(len, groups.values())) >= 60
