"""The tables, by noun. Import them from here: `from chat.models import Conversation`."""

from chat.models.api_key import ApiKey
from chat.models.attempt import Attempt
from chat.models.catalog import Endpoint, Fallback, Model
from chat.models.conversation import Conversation
from chat.models.erasure import Erasure
from chat.models.generation import Generation
from chat.models.large_request import LargeRequest, RequestSlice
from chat.models.logged_event import LoggedEvent
from chat.models.message import Message
from chat.models.process import BreakerOverride, Process
from chat.models.registration import Registration
from chat.models.sign_in import SigninFailure, SigninLink
from chat.models.webhook import Webhook, WebhookEndpoint

__all__ = [
    "ApiKey",
    "Attempt",
    "BreakerOverride",
    "Conversation",
    "Endpoint",
    "Erasure",
    "Fallback",
    "Generation",
    "LargeRequest",
    "LoggedEvent",
    "Message",
    "Model",
    "Process",
    "Registration",
    "RequestSlice",
    "SigninFailure",
    "SigninLink",
    "Webhook",
    "WebhookEndpoint",
]
