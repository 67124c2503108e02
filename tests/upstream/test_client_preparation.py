"""The client is prepared in a thread while the first request may already need it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import openai

from chat.upstream import Client


def test_two_threads_that_prepare_at_once_open_one_set_of_connections(monkeypatch):
    opened = []
    both = Barrier(2)

    def new_client(**_options):
        with suppress(BrokenBarrierError):
            both.wait(timeout=0.5)  # broken if the other thread does not get here
        opened.append(object())
        return opened[-1]

    monkeypatch.setattr(openai, "DefaultAioHttpClient", new_client)
    client = Client()
    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(client.prepare) for _ in range(2)]:
            each.result()
    assert len(opened) == 1
