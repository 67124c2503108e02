"""The web server: Daphne, with a reaper that survives errors, back-pressure, and a drain."""

from chat.runtime.asgi_server.server import Server, StartupFailed

__all__ = ["Server", "StartupFailed"]
