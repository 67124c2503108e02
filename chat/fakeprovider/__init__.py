"""An OpenAI-compatible server to rehearse outages with, scripted fault by fault. Plain asyncio."""

from chat.fakeprovider.journal import Record
from chat.fakeprovider.server import FakeProvider
from chat.fakeprovider.threaded import ThreadedProvider

__all__ = ["FakeProvider", "Record", "ThreadedProvider"]
