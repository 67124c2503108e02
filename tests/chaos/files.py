"""The scenario of files: uploads, messages with them and imports, while the server is killed."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image

from tests.attachments.extraction import samples
from tests.chaos.client import Client
from tests.chaos.environment import Environment, Report
from tests.chaos.export import Export
from tests.chaos.record import Record, until
from tests.support.programs import Program
from tests.support.provider_control import provider_text
from tests.support.serving import Response, Session

UPLOADERS, IMPORTERS = 6, 3
# Imports of one user at once. The server refuses the eleventh.
WAITING_MAX = 9
# A server that starts again, and an upload that waits for its turn.
REQUEST_TIMEOUT_S = 60.0
RETRY_S = 0.05
# An import is taken over when its process said nothing for 30 s; so for the last one of each user.
IMPORTS_DEADLINE_S = 300.0
# Of the export, so that the server is also killed between two of them.
PART_BYTES = 32 * 1024
# As a model is sent a document.
DOCUMENT = '<file name="%s">\n%s\n</file>'
SEES = "from chat.models import Model; Model.objects.filter(name='fake:plain').update(sees_images=True)"
# What lies about for an hour and for a day is swept as if that had passed.
SWEEP = """
import asyncio, os
from datetime import timedelta
from django.utils import timezone
from chat.attachments import files
from chat.event_log.writer import InlineWriter
from chat.models import LooseFile
from chat.models.stored_content import LONG_AGO, LOOSE_KEPT
LooseFile.objects.exclude(since=LONG_AGO).update(since=timezone.now() - 2 * LOOSE_KEPT)
for path in files.incoming_folder().iterdir():
    os.utime(path, (0, 0))
asyncio.run(files.delete_loose_files(InlineWriter()))
"""
CONTENTS = "SELECT path, sha256, size_bytes FROM chat_storedcontent"
ATTACHMENTS = """
SELECT a.id, a.upload_sha256, c.sha256 FROM chat_attachment a
LEFT JOIN chat_storedcontent c ON c.id = a.content_id
"""
OF_MESSAGES = """
SELECT g.client_id, ma.attachment_id FROM chat_generation g JOIN chat_message a ON a.id = g.message_id
JOIN chat_messageattachment ma ON ma.message_id = a.parent_id
"""
UNFINISHED = "SELECT status FROM chat_conversationimport WHERE status <> 'uploading' AND finished_at IS NULL"
OWN_UNFINISHED = """
SELECT i.id FROM chat_conversationimport i JOIN auth_user u ON u.id = i.user_id
WHERE u.username = 'user{number}' AND i.finished_at IS NULL
"""
IMPORTS = "SELECT status, problem FROM chat_conversationimport WHERE status NOT IN ('uploading', 'done')"
# A run begins a new epoch.
INTERRUPTED = "SELECT sum(epoch - 1) FROM chat_conversationimport WHERE status = 'done'"


@dataclass
class Uploaded:
    """An upload that the server acknowledged. `stored_sha256`: of what is kept, if that is what was sent."""

    session: Session
    attachment: str
    sha256: str
    stored_sha256: str | None


@dataclass
class Progress:
    """What the clients of the scenario did so far."""

    uploads: list[Uploaded] = field(default_factory=list)
    # The attachments of each question, by its client id.
    asked: dict[str, list[str]] = field(default_factory=dict)
    imports: int = 0
    killed: list[int] = field(default_factory=list)
    is_over: bool = False


async def files(environment: Environment, kills: int) -> Report:
    """Upload, ask and import without a pause, and kill the server with SIGKILL; then look at every file."""
    rng, record, progress = environment.rng("files"), Record(), Progress()
    environment.server.query(SEES)
    clients = environment.clients(record)
    exports = [Export(number, environment.rng("export", number)) for number in range(IMPORTERS)]
    async with environment.running(clients):
        async with asyncio.TaskGroup() as group:
            for number in range(UPLOADERS):
                group.create_task(_keep_uploading(environment, clients[number], number, progress))
            for number, export in enumerate(exports):
                group.create_task(_keep_importing(environment, number, export, progress))
            for _ in range(kills):
                await _kill(environment, rng, progress)
            progress.is_over = True
        await environment.settled(clients)
    imports_s = await _imports_ended(environment)
    await asyncio.to_thread(environment.server.shell, SWEEP)
    _check_files(environment, record, progress)
    await asyncio.to_thread(_check_uploads, environment, record, progress)
    for number, export in enumerate(exports):
        record.failures += export.differences(environment.fetch, f"user{number}")
    await _check_processes(record, progress)
    report = environment.check("files", clients, may_end_early=3)
    report.figures = {
        "kills": str(kills),
        "uploads acknowledged": str(len(progress.uploads)),
        "questions with files": str(len(progress.asked)),
        "files at the end": str(len(environment.fetch(CONTENTS))),
        "imports begun": str(progress.imports),
        "runs of imports killed": str(environment.fetch(INTERRUPTED)[0][0]),
        "the last of them ended after": f"{imports_s:.0f} s",
        "conversations imported": str(sum(export.count for export in exports)),
    }
    return report


async def _kill(environment: Environment, rng: random.Random, progress: Progress) -> None:
    await asyncio.sleep(rng.uniform(0, 2.5))
    server = environment.server
    progress.killed.append(server.pid)
    await asyncio.to_thread(server.kill9)
    if rng.random() < 0.1:
        await asyncio.to_thread(Program.start, server)
        await asyncio.sleep(rng.uniform(0, 2))
        progress.killed.append(server.pid)
        await asyncio.to_thread(server.kill9)
    await asyncio.to_thread(server.start)


# -- load ------------------------------------------------------------------------------------------


async def _keep_uploading(environment: Environment, client: Client, number: int, progress: Progress) -> None:
    rng = environment.rng("uploads", number)
    while not progress.is_over:
        uploads = [await _upload(client.session, rng, progress) for _ in range(rng.randrange(1, 4))]
        if rng.random() < 0.6:
            await _ask_about(environment, client, [each for each in uploads if each is not None], progress)


async def _upload(session: Session, rng: random.Random, progress: Progress) -> Uploaded | None:
    """Upload a file until it is acknowledged. Each fourth content is one that another user may have, too."""
    name, data, is_kept_as_sent = _file(random.Random(rng.randrange(20)) if rng.random() < 0.25 else rng)
    headers = {"Content-Type": "application/octet-stream"}
    reply = await _until_answered(
        lambda: session.request(
            "POST", f"/attachments/?name={name}", body=data, headers=headers, timeout_s=REQUEST_TIMEOUT_S
        )
    )
    assert reply.status == 201, reply.text
    sha256 = hashlib.sha256(data).hexdigest()
    uploaded = Uploaded(session, reply.json()["id"], sha256, sha256 if is_kept_as_sent else None)
    progress.uploads.append(uploaded)
    return uploaded


async def _until_answered(request: Callable[[], Response]) -> Response:
    """Send a request until there is a response of a server that lives."""
    while True:
        with suppress(OSError, http.client.HTTPException):
            reply = await asyncio.to_thread(request)
            if reply.status < 500:
                return reply
        await asyncio.sleep(RETRY_S)


def _file(rng: random.Random) -> tuple[str, bytes, bool]:
    """Return the name and the bytes of a file, and whether these are what is kept."""
    words = " ".join(str(rng.getrandbits(40)) for _ in range(rng.choice((10, 200, 5_000))))
    number = rng.randrange(10**9)
    match rng.randrange(5):
        case 0:
            out = io.BytesIO()
            noise = Image.frombytes("RGB", (160, 120), rng.randbytes(160 * 120 * 3))
            noise.resize((640, 480)).save(out, "PNG")
            return f"picture-{number}.png", out.getvalue(), False
        case 1:
            return f"plan-{number}.pdf", samples.pdf([samples.text_page(words[:60])]), True
        case 2:
            # A page without text: it is kept as a picture beside the document.
            return f"scan-{number}.pdf", samples.pdf([b"%s %% %d" % (samples.SCANNED_PAGE, number)]), True
        case 3:
            return f"letter-{number}.docx", samples.docx(samples.paragraphs(words)), True
        case _:
            return f"notes-{number}.txt", words.encode(), True


async def _ask_about(
    environment: Environment, client: Client, uploads: list[Uploaded], progress: Progress
) -> None:
    """Ask with files. The answer must be the one to a prompt with their words."""
    ids = list(dict.fromkeys(each.attachment for each in uploads))
    question = await environment.question(client, "[[deltas=20]]", varies=True)
    rows = {pk: (name, text) for pk, name, text in environment.fetch(_texts(ids))}
    documents = [DOCUMENT % rows[_key(pk)] for pk in ids if rows[_key(pk)][1]]
    prompt = "\n\n".join([*documents, question.text])
    question.expected = await asyncio.to_thread(provider_text, environment.provider, prompt)
    question.attachments = ids
    progress.asked[question.client_id] = ids
    client.ask(question)
    await client.answer_to(question)


def _texts(ids: list[str]) -> str:
    keys = ", ".join(f"'{_key(pk)}'" for pk in ids)
    return f"SELECT id, name, text FROM chat_attachment WHERE id IN ({keys})"


def _key(pk: str) -> str:
    """Return a UUID as SQLite has it."""
    return pk.replace("-", "")


async def _keep_importing(environment: Environment, number: int, export: Export, progress: Progress) -> None:
    """Upload the same export again and again, in small parts, as the page does."""
    session, rng = environment.sessions[number], environment.rng("imports", number)
    fields = {"name": "export.zip", "size": str(len(export.data))}
    while not progress.is_over:
        if len(environment.fetch(OWN_UNFINISHED.format(number=number))) >= WAITING_MAX:
            await asyncio.sleep(0.5)
            continue
        begun = await _until_answered(lambda: session.post("/import/", fields, timeout_s=REQUEST_TIMEOUT_S))
        progress.imports += 1
        await _send_parts(session, begun.json()["part"], export.data)
        await asyncio.sleep(rng.uniform(0, 3))


async def _send_parts(session: Session, address: str, data: bytes) -> None:
    received = 0
    while received < len(data):
        reply = await _until_answered(partial(_send_part, session, address, data, received))
        received = reply.json()["received"]


def _send_part(session: Session, address: str, data: bytes, offset: int) -> Response:
    return session.request(
        "POST",
        f"{address}?offset={offset}",
        body=data[offset : offset + PART_BYTES],
        headers={"Content-Type": "application/octet-stream"},
        timeout_s=REQUEST_TIMEOUT_S,
    )


# -- checks ----------------------------------------------------------------------------------------


async def _imports_ended(environment: Environment) -> float:
    """Wait for the end of all imports; return how long that took."""
    began_s = time.monotonic()
    end = began_s + IMPORTS_DEADLINE_S
    while unfinished := environment.fetch(UNFINISHED):
        assert time.monotonic() < end, f"these imports do not end: {unfinished}"
        await asyncio.sleep(0.3)
    return time.monotonic() - began_s


def _check_files(environment: Environment, record: Record, progress: Progress) -> None:
    """Check that each row has its file, as a whole, that each file has its row, and that nothing is left."""
    folder = environment.server.data_dir / "attachments"
    stored = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    rows = {path: (sha256, size) for path, sha256, size in environment.fetch(CONTENTS)}
    record.failures += [f"the file {path} is missing" for path in rows.keys() - stored.keys()]
    record.failures += [f"the file {path} has no row" for path in stored.keys() - rows.keys()]
    for path in rows.keys() & stored.keys():
        data = stored[path].read_bytes()
        if (hashlib.sha256(data).hexdigest(), len(data)) != rows[path]:
            record.fail(f"the file {path} has another content than its row says")
    record.failures += [f"left: {each}" for each in environment.fetch("SELECT path FROM chat_loosefile")]
    for name in ("incoming", "imports"):
        record.failures += [f"left in {name}: {path.name}" for path in _in(environment, name)]
    for check in ("foreign_key_check", "integrity_check"):
        record.failures += [
            f"{check}: {row}" for row in environment.fetch(f"PRAGMA {check}") if row != ("ok",)
        ]
    of_messages: dict[str, set[str]] = {}
    for client_id, attachment in environment.fetch(OF_MESSAGES):
        of_messages.setdefault(client_id, set()).add(attachment)
    for client_id, ids in progress.asked.items():
        if of_messages.get(client_id) != {_key(pk) for pk in ids}:
            record.fail(f"the message {client_id} has {of_messages.get(client_id)}, not {ids}")


def _in(environment: Environment, name: str) -> Iterator[Path]:
    """Yield what is in a folder of the data, without the uploads that were begun and never went on."""
    folder = environment.server.data_dir / name
    begun = environment.fetch("SELECT id FROM chat_conversationimport WHERE status = 'uploading'")
    keys = {pk for (pk,) in begun}
    yield from (path for path in folder.iterdir() if _key(path.name) not in keys)


def _check_uploads(environment: Environment, record: Record, progress: Progress) -> None:
    """Check that every acknowledged upload is there, is what was sent, and is served."""
    rows = {pk: rest for pk, *rest in environment.fetch(ATTACHMENTS)}
    for each in progress.uploads:
        found = rows.get(_key(each.attachment))
        if found is None or found[0] != each.sha256 or each.stored_sha256 not in (None, found[1]):
            record.fail(f"{each.attachment} was stored as {each.sha256}, and is {found}")
            continue
        shown = each.session.get(f"/attachments/{each.attachment}/")
        if shown.status != 200 or shown.headers["ETag"] != f'"{found[1]}"':
            record.fail(f"{each.attachment} is shown as {shown.status}, {shown.headers['ETag']}")
    if broken := [pk for pk, (_sent, kept) in rows.items() if kept is None]:
        record.fail(f"attachments without a content: {broken}")
    record.failures += [f"an import is {each}" for each in environment.fetch(IMPORTS)]


async def _check_processes(record: Record, progress: Progress) -> None:
    """Check that nothing goes on of the servers that were killed: each has a process group of its own."""

    def left() -> list[int]:
        return [pid for pid in progress.killed if _has_group(pid)]

    await until(lambda: not left(), "the children of killed servers to end", record)


def _has_group(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(pid, 0)
        return True
    return False
