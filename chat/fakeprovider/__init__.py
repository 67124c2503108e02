"""An OpenAI-compatible server with scripted faults, to rehearse outages. Plain asyncio."""

from chat.fakeprovider.journal import RequestRecord
from chat.fakeprovider.server import FakeProvider
from chat.fakeprovider.threaded import ThreadedProvider

__all__ = ["FakeProvider", "RequestRecord", "ThreadedProvider"]
