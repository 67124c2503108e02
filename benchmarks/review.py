"""Measure the pages of reviewers in a large database: server time and number of queries.

    python -m benchmarks.review [--postgresql | --here] [--rounds 5]

Fills a new SQLite database with a million messages first, which takes some minutes. `--postgresql`: one
of a private PostgreSQL. `--here`: uses that of the environment (CHATSITE_DATA_DIR or DATABASE_URL), which
`benchmarks.seed` has filled, with static files that are collected (`manage.py collectstatic`).
Pages are rendered in this process, without a network. Wanted: lists, conversations in 300 ms, searches and
the dashboard in 500 ms, each with at most 20 queries; a redaction in 500 ms, which is a change and no page.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
if __name__ == "__main__":
    django.setup()

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from benchmarks import environment, report
from chat.models import Conversation, Message
from tests.support import services

QUERIES_MAX = 20


def pages() -> list[tuple[str, str, int]]:
    """Return (name, address, wanted milliseconds)."""
    conversations = reverse("admin:chat_conversation_changelist")
    text = Message.objects.order_by("-pk").values_list("text", flat=True)[5]
    common = text.split()[0].strip(".")
    lists = [
        ("first page", ""),
        ("far page", "p=150"),
        ("failed, past 30 days", "state=failed&period=30"),
        ("unreviewed", "review=unreviewed"),
        ("sorted by cost", "o=-5"),
        ("sorted by length", "o=-4"),
        ("sorted by duration", "o=-6"),
        ("language and cost", "language=unknown&cost=0.1"),
        ("one user", "username=seed7"),
    ]
    searches = [
        ("rare word", "needle"),
        ("word that is nowhere", "nosuchwordatall"),
        ("common word", common),
        ("beginnings of words", "ba"),
        ("two words", f"{common} needle"),
        ("phrase", '"a needle"'),
        ("one character of Chinese", "的"),
        ("two of Chinese", "中国"),
        ("four of Chinese, nowhere", "中国语言"),
        ("a letter", "a"),
    ]
    one = Conversation.objects.order_by("-pk")[100]
    failed = {"since": f"{timezone.now() - timedelta(days=30):%Y-%m-%d}", "what": "failed"}
    return [
        *((f"list, {name}", f"{conversations}?{query}", 300) for name, query in lists),
        *((f"search, {name}", f"{conversations}?q={words}", 500) for name, words in searches),
        *((f"sidebar, {name}", f"{reverse('sidebar')}?q={words}", 500) for name, words in searches),
        ("open a conversation", reverse("admin:chat_conversation_change", args=[one.pk]), 300),
        ("dashboard", reverse("admin:index"), 500),
        ("list of answers", reverse("admin:chat_generation_changelist"), 300),
        ("answers of 30 days, failed", reverse("admin:chat_generation_changelist", query=failed), 300),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgresql", action="store_true", help="fill a database of a private PostgreSQL")
    parser.add_argument("--here", action="store_true", help="use the database of the environment")
    options = parser.parse_args()
    if options.here:
        measure(options.rounds)
        return
    server = services.run_postgres() if options.postgresql else contextlib.nullcontext()
    with environment.folder() as path, server as postgres:
        url = postgres.create() if postgres is not None else ""
        env = os.environ | {"CHATSITE_DATA_DIR": str(path), "DATABASE_URL": url}
        for arguments in (
            ["manage.py", "migrate", "-v0"],
            ["manage.py", "collectstatic", "--noinput", "-v0"],
            ["-m", "benchmarks.seed"],
            ["-m", "benchmarks.review", "--here", "--rounds", str(options.rounds)],
        ):
            if code := subprocess.run([sys.executable, *arguments], env=env).returncode:
                sys.exit(code)


def measure(rounds: int) -> None:
    """Print how long each page takes. Exits with 1 if one takes too long."""
    staff, _ = User.objects.update_or_create(
        username="benchmark", defaults={"is_staff": True, "is_superuser": True, "is_active": True}
    )
    # The sidebar is that of a user with 1 in 500 conversations; staff searches read them all.
    person = User.objects.filter(username="seed7").get()
    clients = {name: Client(HTTP_HOST="localhost") for name in ("staff", "person")}
    clients["staff"].force_login(staff)
    clients["person"].force_login(person)
    print(f"{Message.objects.count():,} messages, {Conversation.objects.count():,} conversations")
    rows = []
    for name, address, wanted_ms in pages():
        client = clients["person" if name.startswith("sidebar") else "staff"]
        queries: list[str] = []
        with connection.execute_wrapper(_counting(queries)):
            response = client.get(address)
        times_ms = [_time_ms(client, address) for _ in range(rounds)]
        median = statistics.median(times_ms)
        is_met = response.status_code == 200 and median < wanted_ms and len(queries) <= QUERIES_MAX
        figure = f"{median:.0f} ms (max {max(times_ms):.0f}), {len(queries)} queries"
        rows.append((name, figure, f"< {wanted_ms} ms" + ("" if is_met else ", MISSED")))
    rows.append(_redactions(clients["staff"], rounds))
    report.table(f"Review, {connection.vendor}", rows)
    if any("MISSED" in row[-1] for row in rows):
        sys.exit(1)


def _redactions(client: Client, rounds: int) -> tuple[str, str, str]:
    """Remove a word from some conversations, and return the row of the table."""
    wanted_ms, times_ms = 500, []
    for conversation in Conversation.objects.order_by("-pk")[200 : 200 + rounds]:
        word = conversation.messages.values_list("text", flat=True)[2].split()[-1]
        address = reverse("admin:chat_conversation_redact", args=[conversation.pk])
        started_s = time.perf_counter()
        response = client.post(address, {"what": "phrase", "phrase": word, "reason": "measured"})
        times_ms.append((time.perf_counter() - started_s) * 1000)
        assert response.status_code == 302, response.status_code
    median = statistics.median(times_ms)
    missed = "" if median < wanted_ms else ", MISSED"
    return "redact a word", f"{median:.0f} ms (max {max(times_ms):.0f})", f"< {wanted_ms} ms{missed}"


def _counting(queries: list[str]) -> Callable[..., Any]:
    def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        queries.append(sql)
        return run(sql, *arguments)

    return execute


def _time_ms(client: Client, address: str) -> float:
    started_s = time.perf_counter()
    client.get(address)
    return (time.perf_counter() - started_s) * 1000


if __name__ == "__main__":
    main()
