"""The fake provider in its own thread, for tests and programs without an event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

from chat.fakeprovider.journal import RequestRecord
from chat.fakeprovider.server import FakeProvider


class ThreadedProvider:
    """The methods of FakeProvider, blocking: `with ThreadedProvider.running() as provider: …`."""

    def __init__(self, provider: FakeProvider, loop: asyncio.AbstractEventLoop) -> None:
        self._provider = provider
        self._loop = loop
        self.url, self.base_url = provider.url, provider.base_url

    @classmethod
    @contextlib.contextmanager
    def running(cls, **options: Any) -> Iterator[Self]:
        """Run FakeProvider(**options) in a thread while the block runs."""
        provider = FakeProvider(**options)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fakeprovider", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result()
            try:
                yield cls(provider, loop)
            finally:
                asyncio.run_coroutine_threadsafe(provider.__aexit__(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _do[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _call[T](self, operation: Callable[[], T]) -> T:
        async def call() -> T:
            return operation()

        return self._do(call())

    @property
    def requests(self) -> list[RequestRecord]:
        return self._call(lambda: self._provider.requests)

    def script(self, do: str, **when: Any) -> None:
        self._call(lambda: self._provider.script(do, **when))

    def release(self, gate: str) -> None:
        self._call(lambda: self._provider.release(gate))

    def text_for(self, text: str, model: str = "fake", attempt: int = 1) -> str:
        return self._provider.text_for(text, model, attempt)

    def wait_for(self, condition: Callable[[RequestRecord], bool], timeout_s: float = 10) -> RequestRecord:
        return self._do(self._provider.wait_for(condition, timeout_s))

    def wait_held(self, gate: str, timeout_s: float = 10) -> RequestRecord:
        return self._do(self._provider.wait_held(gate, timeout_s))

    def wait_requests(self, count: int, timeout_s: float = 10) -> list[RequestRecord]:
        return self._do(self._provider.wait_requests(count, timeout_s))
