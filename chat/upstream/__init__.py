"""Calling models at their endpoints: plain asyncio, no Django, no settings."""

from chat.upstream import errors
from chat.upstream.admission import WAITING_MAX
from chat.upstream.batches import BatchState, LineResult, ProviderBatches
from chat.upstream.breaker import BreakerPolicy, BreakerState
from chat.upstream.client import Client
from chat.upstream.embeddings import Embeddings, embed
from chat.upstream.errors import UpstreamError
from chat.upstream.images import ReceivedImage
from chat.upstream.policy import CallBudget, Policy
from chat.upstream.queue import QueuePriority
from chat.upstream.shared_slots import SharedSlots
from chat.upstream.state import BreakerStatus, EndpointStatus, UpstreamState
from chat.upstream.steps import ContinuedStep, RefusedStep, RetryingStep, StartedStep, Step, SwitchedStep
from chat.upstream.stream import stream
from chat.upstream.types import Finished, Prompt, PromptBuilder, Recovery, Target, TargetKey, Timeouts, Usage

__all__ = [
    "WAITING_MAX",
    "BatchState",
    "BreakerPolicy",
    "BreakerState",
    "BreakerStatus",
    "CallBudget",
    "Client",
    "ContinuedStep",
    "Embeddings",
    "EndpointStatus",
    "Finished",
    "LineResult",
    "Policy",
    "Prompt",
    "PromptBuilder",
    "ProviderBatches",
    "QueuePriority",
    "ReceivedImage",
    "Recovery",
    "RefusedStep",
    "RetryingStep",
    "SharedSlots",
    "StartedStep",
    "Step",
    "SwitchedStep",
    "Target",
    "TargetKey",
    "Timeouts",
    "UpstreamError",
    "UpstreamState",
    "Usage",
    "embed",
    "errors",
    "stream",
]
