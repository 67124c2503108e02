"""Import a synthetic ChatGPT export of 500 MB beside a chat, with a kill in the middle, and again.

    python -m benchmarks.import_chatgpt [--conversations 50000] [--only-write FILE]

The file is uploaded as the page does it. Memory is that of the server and of its reading child, from /proc.
The first word is timed at a socket: before the import, during it, and after it. All of it is one run on one
server. It prints its progress, and ends with an error if something is missing, there twice or beyond a limit.
"""

import argparse
import asyncio
import json
import random
import sys
import threading
import time
from dataclasses import dataclass, field
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
# A question and an answer in each turn, and the answer that was regenerated.
MESSAGES = 2 * TURNS + 1
STATE = ("status", "imported", "updated", "unchanged", "skipped", "position", "problem")
QUESTIONS = 100
PROGRESS_S = 30
MEMORY_MAX_MB, RATIO_MAX = 150, 1.3


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
    """The most memory that a server and one of its children had since the watch was started, in MB."""

    def __init__(self, site: Server) -> None:
        self._site = site
        self.server_mb = self.child_mb = 0.0

    def start(self) -> None:
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
        "print(json.dumps([i.status, i.imported, i.updated, i.unchanged, i.skipped, i.position, i.problem]))"
    )
    return dict(zip(STATE, json.loads(site.query(code)), strict=True))


def stored(site: Server) -> list[int]:
    """Return how many imported conversations are visible, how many different ones, and their messages."""
    code = (
        "import json; from chat.models import *;"
        "c = ImportedConversation.objects.filter(conversation__deleted_at=None);"
        "m = ImportedMessage.objects.filter(message__conversation__deleted_at=None);"
        "print(json.dumps([c.count(), c.values('source_id').distinct().count(), m.count()]))"
    )
    found: list[int] = json.loads(site.query(code))
    return found


def wait(site: Server, what: str, *, at: int | None = None) -> dict[str, Any]:
    """Wait until the end of the import, or until so many conversations are stored; return the state."""
    started_s = shown_s = time.monotonic()
    while True:
        now = state(site)
        if now["status"] in {"done", "failed"} or (at is not None and now["position"] >= at):
            return now
        if time.monotonic() - shown_s > PROGRESS_S:
            shown_s = time.monotonic()
            print(f"  {what}: {now['position']} after {shown_s - started_s:.0f} s", flush=True)
        time.sleep(2)


async def first_words(session: Session, count: int) -> list[float]:
    """Return the milliseconds to the first word of answers, one after the other."""
    found = []
    async with open_client(session) as client:
        for _ in range(count):
            answer = await client.ask("Hello [[deltas=5 rate=0]]")
            assert answer.first_text is not None
            found.append(1000 * (answer.first_text - answer.sent))
    return found


@dataclass
class Result:
    """What was measured. Times to the first word are in milliseconds."""

    size_mb: float = 0.0
    uploaded_s: float = 0.0
    took_s: float = 0.0
    again_s: float = 0.0
    memory_before_mb: float = 0.0
    quiet: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    killed_at: int = 0
    done: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)
    stored_again: list[int] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return report.median(self.beside) / report.median(self.quiet)

    def problems(self, conversations: int, watch: Watch) -> list[str]:
        """Return what must hold and does not."""
        whole = [conversations, conversations, conversations * MESSAGES]
        checks = {
            f"the import ended as {self.done}": self.done["status"] == "done",
            f"stored are {self.stored}, not {whole}": self.stored == whole,
            f"again, stored are {self.stored_again}": self.stored_again == whole,
            f"again, it says {self.again}": (self.again["imported"], self.again["updated"]) == (0, 0)
            and self.again["unchanged"] == conversations,
            "the server's memory grew too much": watch.server_mb - self.memory_before_mb < MEMORY_MAX_MB,
            f"chats beside it take {self.ratio:.2f} times as long": self.ratio <= RATIO_MAX,
        }
        return [text for text, holds in checks.items() if not holds]

    def show(self, conversations: int, watch: Watch) -> None:
        grown_mb = watch.server_mb - self.memory_before_mb
        quiet, beside = report.median(self.quiet), report.median(self.beside)
        report.table(
            f"Import of {conversations} conversations, {self.size_mb:.0f} MB",
            [
                ("upload", f"{self.uploaded_s:.0f} s", ""),
                (
                    f"import, with a kill after {self.killed_at} (30 s until it goes on)",
                    f"{self.took_s:.0f} s",
                    "",
                ),
                ("visible conversations, different ones, messages", str(self.stored), "each once"),
                (
                    "memory of the server",
                    f"{self.memory_before_mb:.0f} MB + {grown_mb:.0f} MB",
                    f"+ {MEMORY_MAX_MB} MB",
                ),
                ("memory of the reading child", f"{watch.child_mb:.0f} MB", ""),
                ("first word without it, before and after, p50", f"{quiet:.1f} ms", ""),
                ("first word beside it, p50", f"{beside:.1f} ms, {self.ratio:.2f} ×", f"{RATIO_MAX} ×"),
                (
                    f"again, {self.again_s:.0f} s",
                    f"{self.again['imported']} imported, {self.again['unchanged']} known",
                    "nothing new",
                ),
            ],
        )


def measure(
    site: Server, session: Session, path: Path, conversations: int, watch: Watch, result: Result
) -> None:
    """Import beside a chat, kill the server in the middle, and import again."""
    asyncio.run(first_words(session, 10))
    result.quiet = asyncio.run(first_words(session, QUESTIONS))
    result.memory_before_mb = held_mb(site.pid)[0]
    watch.start()
    started_s = time.monotonic()
    upload(session, path)
    result.uploaded_s = time.monotonic() - started_s
    wait(site, "import", at=conversations // 4)
    result.beside = asyncio.run(first_words(session, QUESTIONS))
    now = wait(site, "import", at=conversations // 2)
    assert now["status"] == "running", f"the import ended before the chats beside it: {now}"
    site.kill9()
    result.killed_at = state(site)["position"]
    site.start()
    result.done = wait(site, "import, continued")
    result.took_s = time.monotonic() - started_s
    result.stored = stored(site)
    asyncio.run(first_words(session, 10))
    result.quiet += asyncio.run(first_words(session, QUESTIONS))
    started_s = time.monotonic()
    upload(session, path)
    result.again = wait(site, "again")
    result.again_s = time.monotonic() - started_s
    result.stored_again = stored(site)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--only-write", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.only_write:
        write_export(options.only_write, options.conversations)
        return
    result = Result()
    with (
        environment.folder() as folder,
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
    ):
        path = folder / "conversations.json"
        write_export(path, options.conversations)
        result.size_mb = path.stat().st_size / 1e6
        watch = Watch(site)
        measure(site, site.sign_in("ada"), path, options.conversations, watch, result)
        result.show(options.conversations, watch)
    if problems := result.problems(options.conversations, watch):
        sys.exit("Not as it must be: " + "; ".join(problems))


if __name__ == "__main__":
    main()
