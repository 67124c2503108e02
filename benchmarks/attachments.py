"""Measure what a file of 1 MB adds to the time to first text, and how long it takes from its choice to ready.

    python -m benchmarks.attachments

One question at a time, in turn without a file, with a picture and with a PDF. The files are attached already,
so that only what happens when the message is sent is measured: reading the file, and the request with it. The
provider answers at once; the time in which it reads the larger request is part of the figure. Then each kind
of file is uploaded several times, with other bytes each time: it is received, read in its child process,
encoded again or extracted, and stored.
"""

import asyncio
import io
import os
import random
import time
from http import HTTPStatus

from PIL import Image

from benchmarks import environment, report
from benchmarks.client import Client, open_client
from tests.attachments.extraction import samples
from tests.support.serving import Session

ROUNDS, WARM_UP, UPLOADS = 30, 3, 8
BEHAVIOUR = "[[deltas=5 rate=0]]"
WANTED_S = 0.3
SEES = "from chat.models import Model; Model.objects.update(sees_images=True)"
MEGABYTE = 1_000_000


def picture(rng: random.Random) -> bytes:
    """Return a JPEG of about 1 MB with the size and the grain of a photograph."""
    small = Image.frombytes("RGB", (200, 150), rng.randbytes(200 * 150 * 3))
    photograph = small.resize((2000, 1500), Image.Resampling.BICUBIC)
    grain = Image.frombytes("RGB", (1000, 750), rng.randbytes(1000 * 750 * 3)).resize(photograph.size)
    out = io.BytesIO()
    Image.blend(photograph, grain, 0.2).save(out, "JPEG", quality=88)
    return out.getvalue()


def document(rng: random.Random) -> bytes:
    """Return a PDF of 1 MB: 300 pages of text."""
    pages = []
    while sum(map(len, pages)) < MEGABYTE - 60_000:
        lines = [
            " ".join(str(rng.getrandbits(rng.choice((12, 24, 40)))) for _ in range(10)) for _ in range(45)
        ]
        shown = "".join(f"({line}) Tj 0 -15 Td " for line in lines)
        pages.append(f"BT /F1 9 Tf 40 780 Td {shown}ET".encode())
    return samples.pdf(pages)


KINDS = {"picture": ("picture.jpg", picture), "PDF": ("document.pdf", document)}


def upload(session: Session, name: str, data: bytes) -> tuple[str, float]:
    """Upload a file as the page does; return its id, and the seconds that it took."""
    started_s = time.monotonic()
    headers = {"Content-Type": "application/octet-stream"}
    reply = session.request("POST", f"/attachments/?name={name}", body=data, headers=headers, timeout_s=60)
    took_s = time.monotonic() - started_s
    assert reply.status == HTTPStatus.CREATED, reply.text
    return reply.json()["id"], took_s


async def first_text_s(client: Client, attachments: list[str]) -> float:
    answer = await client.ask(f"What is this? {BEHAVIOUR}", attachments=attachments)
    assert answer.outcome == "completed", answer.outcome
    assert answer.first_text is not None
    return answer.first_text - answer.sent


async def measure(session: Session, files: dict[str, list[str]]) -> dict[str, list[float]]:
    """Ask in turn with each of these lists of attachments; return the times to first text."""
    found: dict[str, list[float]] = {name: [] for name in files}
    async with open_client(session) as client:
        for number in range(WARM_UP + ROUNDS):
            for name, attachments in files.items():
                took_s = await first_text_s(client, attachments)
                if number >= WARM_UP:
                    found[name].append(took_s)
    return found


def main() -> None:
    rng = random.Random(1)
    made = {name: [make(rng) for _ in range(UPLOADS)] for name, (_file, make) in KINDS.items()}
    with environment.provider() as provider, environment.server(provider.base_url) as site:
        session = site.sign_in("ada")
        site.query(SEES)
        uploads = {name: [upload(session, KINDS[name][0], data) for data in made[name]] for name in KINDS}
        files = {"no file": []} | {name: [uploads[name][0][0]] for name in KINDS}
        load_before = os.getloadavg()[0]
        found = asyncio.run(measure(session, files))
    plain = report.median(found["no file"])
    rows = [("question sent → first text, no file", report.spread(found["no file"]), "")]
    for name in KINDS:
        size = f"{len(made[name][0]) / MEGABYTE:.2f} MB"
        added_s = report.median(found[name]) - plain
        rows.append((f"the same with a {name}, {size}, attached before", report.spread(found[name]), ""))
        rows.append((f"added by the {name}, p50", report.ms(added_s), f"< {report.ms(WANTED_S)}"))
    for name in KINDS:
        took = [took_s for _pk, took_s in uploads[name]]
        rows.append((f"choice of a {name} → ready, {UPLOADS} uploads", report.spread(took), ""))
    report.table(f"First text with files, {ROUNDS} questions each (load before {load_before:.1f})", rows)


if __name__ == "__main__":
    main()
