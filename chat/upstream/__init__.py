"""Calling models: plain asyncio that knows neither the database, nor requests, nor settings."""

from chat.upstream.client import Client
from chat.upstream.errors import UpstreamError
from chat.upstream.stream import (
    Budget,
    Finished,
    Policy,
    Prompt,
    Retrying,
    Step,
    Target,
    Timeouts,
    Usage,
    stream,
)

__all__ = [
    "Budget",
    "Client",
    "Finished",
    "Policy",
    "Prompt",
    "Retrying",
    "Step",
    "Target",
    "Timeouts",
    "UpstreamError",
    "Usage",
    "stream",
]
