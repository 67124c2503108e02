"""The middleware that serves static files."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.utils.decorators import sync_and_async_middleware
from servestatic.middleware import ServeStaticMiddleware


@sync_and_async_middleware
def static_files(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Serve static files on the event loop. The middleware of pages leaves them out, see `handler.py`."""
    return ServeStaticMiddleware(get_response) if iscoroutinefunction(get_response) else get_response
