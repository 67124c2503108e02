"""What a server loads before its first request."""

import asyncio
import gc

from chat.runtime import warm_up
from chat.upstream import Client


async def test_what_is_loaded_is_exempt_from_garbage_collection():
    client = Client()
    before = gc.get_freeze_count()
    try:
        await asyncio.to_thread(warm_up.warm_up, client)
        assert gc.get_freeze_count() > before
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        await client.close()
