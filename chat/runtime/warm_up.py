"""What a server loads before its first request needs it."""

from __future__ import annotations

import gc

from django.urls import get_resolver

from chat import upstream


def warm_up(client: upstream.Client) -> None:
    """Import what requests use, and exempt all that is loaded by now from garbage collection. Blocks.

    Otherwise each full collection goes through the objects of all modules, which stops the event loop for
    100 to 200 ms; with this, it only sees what requests have made.
    """
    gc.disable()  # a collection in the middle of it would be such a stop
    try:
        client.prepare()
        _ = get_resolver().url_patterns
    finally:
        gc.freeze()
        gc.enable()
