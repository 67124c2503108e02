"""The web server: Daphne, with limits, a reaper that survives errors, back-pressure, and a drain."""

from chat.runtime.asgi_server.request_limits import RequestLimits
from chat.runtime.asgi_server.server import Server, StartupFailed

__all__ = ["RequestLimits", "Server", "StartupFailed"]
