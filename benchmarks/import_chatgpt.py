"""Import a synthetic ChatGPT export of 500 MB beside a chat, with a kill in the middle, and again.

    python -m benchmarks.import_chatgpt [--conversations 50000] [--only-write FILE]

The file is uploaded as the page does it. Memory is that of the server and of its reading child, from /proc.
The first word is timed at a socket, before and during the import.
"""

import argparse
import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import environment, report
from benchmarks.client import open_client
from benchmarks.memory import held_mb
from tests.support.serving import Server, Session

CONVERSATIONS = 50_000
# Together with the names around each message, 10 kB a conversation.
TURNS = 6
WORDS = 125
STATE = ("status", "imported", "updated", "unchanged", "skipped", "position", "problem", "stored", "messages")


def conversation(number: int, rng: random.Random, words: list[str]) -> dict[str, Any]:
    """Return one conversation with an answer that was regenerated."""
    started = 1_735_689_600 + number * 60
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    parent = "root"
    for turn in range(2 * TURNS):
        node = f"{number}-{turn}"
        text = " ".join(rng.choices(words, k=WORDS if turn % 2 else 15))
        message = {
            "id": node,
            "author": {"role": "assistant" if turn % 2 else "user", "name": None, "metadata": {}},
            "create_time": started + turn + 0.25,
            "content": {"content_type": "text", "parts": [f"**{turn}** {text}"]},
            "metadata": {"model_slug": "gpt-4o"} if turn % 2 else {},
            "status": "finished_successfully",
            "recipient": "all",
        }
        mapping[node] = {"id": node, "message": message, "parent": parent, "children": []}
        if turn == 1:
            again = f"{number}-again"
            mapping[again] = {"id": again, "message": message | {"id": again}, "parent": parent}
        parent = node
    return {
        "title": f"Conversation {number}",
        "create_time": started,
        "update_time": started + 60.5,
        "mapping": mapping,
        "current_node": parent,
        "conversation_id": f"synthetic-{number}",
    }


def write_export(path: Path, conversations: int) -> None:
    """Write `conversations.json`, the same for the same number."""
    rng = random.Random(500)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(2, 9))) for _ in range(5_000)]
    with path.open("w") as file:
        for number in range(conversations):
            file.write("[" if number == 0 else ",")
            json.dump(conversation(number, rng, words), file)
        file.write("]")


def upload(session: Session, path: Path) -> str:
    """Send a file in parts, and return the address of its import."""
    size = path.stat().st_size
    begun = session.post("/import/", {"name": path.name, "size": str(size)}).json()
    received = 0
    with path.open("rb") as file:
        while received < size:
            file.seek(received)
            data = file.read(begun["part_bytes"])
            sent = session.request(
                "POST",
                f"{begun['part']}?offset={received}",
                body=data,
                headers={"Content-Type": "application/octet-stream"},
            )
            received = sent.json()["received"]
    return begun["part"].removesuffix("part/")


class Watch:
    """The most memory that a server and its children had since the watch began, in MB."""

    def __init__(self, site: Server) -> None:
        self._site = site
        self.server_mb = self.child_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                self.server_mb = max(self.server_mb, held_mb(self._site.pid)[0])
                children = Path(f"/proc/{self._site.pid}/task/{self._site.pid}/children").read_text().split()
                self.child_mb = max([self.child_mb, *(held_mb(int(pid))[0] for pid in children)])
            except (OSError, KeyError):  # it was killed
                pass
            time.sleep(0.25)  # finer than the phases of an import, and cheap


def state(site: Server) -> dict[str, Any]:
    code = (
        "import json; from chat.models import *; i = ConversationImport.objects.first();"
        "print(json.dumps([i.status, i.imported, i.updated, i.unchanged, i.skipped, i.position, i.problem,"
        "Conversation.objects.filter(deleted_at=None).count(), Message.objects.count()]))"
    )
    return dict(zip(STATE, json.loads(site.query(code)), strict=True))


def until_done(site: Server, *, at: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the state every few seconds, until the end or until so many conversations are stored."""
    while True:
        now = state(site)
        yield now
        if now["status"] in {"done", "failed"} or (at is not None and now["position"] >= at):
            return
        time.sleep(3)  # each look reads the whole table of messages


async def first_words(session: Session, count: int) -> list[float]:
    """Return the milliseconds to the first word of answers, one after the other."""
    found = []
    async with open_client(session) as client:
        for _ in range(count):
            answer = await client.ask("Hello [[deltas=5 rate=0]]")
            assert answer.first_text is not None
            found.append(1000 * (answer.first_text - answer.sent))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--only-write", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.only_write:
        write_export(options.only_write, options.conversations)
        return
    with (
        environment.folder() as folder,
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
    ):
        path = folder / "conversations.json"
        write_export(path, options.conversations)
        session = site.sign_in("ada")
        asyncio.run(first_words(session, 5))
        quiet = asyncio.run(first_words(session, 30))
        before = held_mb(site.pid)[0]
        watch, started = Watch(site), time.monotonic()
        upload(session, path)
        uploaded_s = time.monotonic() - started
        *_, half = until_done(site, at=options.conversations // 3)
        beside = asyncio.run(first_words(session, 30))
        site.kill9()
        site.start()
        *_, done = until_done(site)
        took_s = time.monotonic() - started
        upload(session, path)
        *_, again = until_done(site)
        report.table(
            f"Import of {options.conversations} conversations, {path.stat().st_size / 1e6:.0f} MB",
            [
                ("upload", f"{uploaded_s:.0f} s", ""),
                ("import, with a kill after " + str(half["position"]), f"{took_s:.0f} s", ""),
                ("stored", f"{done['stored']} conversations, {done['messages']} messages", ""),
                ("memory of the server", f"{before:.0f} MB + {watch.server_mb - before:.0f} MB", "+ 150 MB"),
                ("memory of the reading child", f"{watch.child_mb:.0f} MB", ""),
                ("first word before, p50", f"{report.median(quiet):.1f} ms", ""),
                ("first word during, p50", f"{report.median(beside):.1f} ms", "1.3 ×"),
                ("again", f"{again['imported']} imported, {again['unchanged']} known", "nothing new"),
            ],
        )
        print(done, again)


if __name__ == "__main__":
    main()
