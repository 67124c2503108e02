"""Calling models: plain asyncio that knows neither the database, nor requests, nor settings."""

from chat.upstream.admission import Priority
from chat.upstream.attempt import Finished, Prompt, Target, Timeouts, Usage
from chat.upstream.breaker import BreakerPolicy
from chat.upstream.client import Client
from chat.upstream.errors import UpstreamError
from chat.upstream.ladder import BreakerStatus, EndpointStatus, Ladder
from chat.upstream.steps import Retrying, Started, Step, Switched
from chat.upstream.stream import Budget, Policy, stream

__all__ = [
    "BreakerPolicy",
    "BreakerStatus",
    "Budget",
    "Client",
    "EndpointStatus",
    "Finished",
    "Ladder",
    "Policy",
    "Priority",
    "Prompt",
    "Retrying",
    "Started",
    "Step",
    "Switched",
    "Target",
    "Timeouts",
    "UpstreamError",
    "Usage",
    "stream",
]
