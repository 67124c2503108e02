"""The fake provider in a thread of its own, for tests and programs without an event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from chat.fakeprovider.journal import Record

if TYPE_CHECKING:
    from chat.fakeprovider.server import FakeProvider


class ThreadedProvider:
    """The same verbs as FakeProvider; those that wait block the calling thread."""

    def __init__(self, provider: "FakeProvider", loop: asyncio.AbstractEventLoop) -> None:
        self._provider = provider
        self._loop = loop
        self.url, self.base_url = provider.url, provider.base_url

    def _do[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _call[T](self, verb: Callable[[], T]) -> T:
        async def call() -> T:
            return verb()

        return self._do(call())

    @property
    def requests(self) -> list[Record]:
        return self._call(lambda: self._provider.requests)

    def script(self, do: str, **when: Any) -> None:
        self._call(lambda: self._provider.script(do, **when))

    def release(self, gate: str) -> None:
        self._call(lambda: self._provider.release(gate))

    def text_for(self, text: str, model: str = "fake", attempt: int = 1) -> str:
        return self._provider.text_for(text, model, attempt)

    def wait_for(self, claim: Callable[[Record], bool], timeout_s: float = 10) -> Record:
        return self._do(self._provider.wait_for(claim, timeout_s))

    def wait_held(self, gate: str, timeout_s: float = 10) -> Record:
        return self._do(self._provider.wait_held(gate, timeout_s))

    def wait_requests(self, count: int, timeout_s: float = 10) -> list[Record]:
        return self._do(self._provider.wait_requests(count, timeout_s))


@contextlib.contextmanager
def host(provider: "FakeProvider") -> Iterator[ThreadedProvider]:
    """Run a provider in a thread for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fakeprovider", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result()
        try:
            yield ThreadedProvider(provider, loop)
        finally:
            asyncio.run_coroutine_threadsafe(provider.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
