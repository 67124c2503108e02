"""Calling models: plain asyncio that knows neither the database, nor requests, nor settings."""

from chat.upstream.admission import QueuePriority
from chat.upstream.breaker import BreakerPolicy
from chat.upstream.call import Finished, Prompt, Target, Timeouts, Usage
from chat.upstream.client import Client
from chat.upstream.errors import UpstreamError
from chat.upstream.splice import Recovery
from chat.upstream.state import BreakerStatus, EndpointStatus, Ladder
from chat.upstream.steps import Continued, Retrying, Started, Step, Switched
from chat.upstream.stream import Budget, Policy, stream

__all__ = [
    "BreakerPolicy",
    "BreakerStatus",
    "Budget",
    "Client",
    "Continued",
    "EndpointStatus",
    "Finished",
    "Ladder",
    "Policy",
    "Prompt",
    "QueuePriority",
    "Recovery",
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
