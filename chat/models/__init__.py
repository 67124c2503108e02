"""The tables, by noun. Import them from here: `from chat.models import Conversation`."""

from chat.models.access_record import AccessChain, AccessRecord
from chat.models.api_key import ApiKey
from chat.models.attachment import Attachment, AttachmentPage, MessageAttachment
from chat.models.attempt import Attempt
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.models.bookmark import Bookmark
from chat.models.budget import Budget
from chat.models.budget_use import BudgetReservation, BudgetUse, BudgetWarning
from chat.models.catalog import Endpoint, Model
from chat.models.comparison import Comparison
from chat.models.conversation import Conversation
from chat.models.conversation_import import (
    ConversationImport,
    ImportedConversation,
    ImportedMessage,
    ImportReportRow,
)
from chat.models.conversation_summary import ConversationSummary
from chat.models.device import Device
from chat.models.embedding_call import EmbeddingCall
from chat.models.erasure import Erasure
from chat.models.fallback import Fallback
from chat.models.feedback import Feedback
from chat.models.generation import Generation
from chat.models.hourly_figures import ActiveDay, HourlyFigures
from chat.models.hourly_usage import HourlyUsage
from chat.models.large_request import LargeRequest, RequestSlice
from chat.models.logged_event import LoggedEvent
from chat.models.long_text import TextSlice
from chat.models.message import Message
from chat.models.preferences import Preferences
from chat.models.preset import Preset, SavedPrompt
from chat.models.process import BreakerOverride, Process
from chat.models.project import Project
from chat.models.project_file import ProjectFile
from chat.models.redaction import Redaction
from chat.models.registration import Registration
from chat.models.retention import LegalHold, RetentionPolicy, RetentionReport
from chat.models.review import Assignment, Criterion, Label, Mark
from chat.models.saved_view import SavedView
from chat.models.shared_link import SharedLink
from chat.models.sign_in import SigninFailure, SigninLink
from chat.models.stored_content import LooseFile, StoredContent
from chat.models.stored_file import FileSlice, StoredFile
from chat.models.tag import Tag
from chat.models.webhook import Webhook, WebhookEndpoint

__all__ = [
    "AccessChain",
    "AccessRecord",
    "ActiveDay",
    "ApiKey",
    "Assignment",
    "Attachment",
    "AttachmentPage",
    "Attempt",
    "Batch",
    "BatchLine",
    "Bookmark",
    "BreakerOverride",
    "Budget",
    "BudgetReservation",
    "BudgetUse",
    "BudgetWarning",
    "Comparison",
    "Conversation",
    "ConversationImport",
    "ConversationSummary",
    "Criterion",
    "Device",
    "EmbeddingCall",
    "Endpoint",
    "Erasure",
    "Fallback",
    "Feedback",
    "FileSlice",
    "Generation",
    "HourlyFigures",
    "HourlyUsage",
    "ImportReportRow",
    "ImportedConversation",
    "ImportedMessage",
    "Label",
    "LargeRequest",
    "LegalHold",
    "LoggedEvent",
    "LooseFile",
    "Mark",
    "Message",
    "MessageAttachment",
    "Model",
    "Preferences",
    "Preset",
    "Process",
    "Project",
    "ProjectFile",
    "Redaction",
    "Registration",
    "RequestSlice",
    "RetentionPolicy",
    "RetentionReport",
    "SavedPrompt",
    "SavedView",
    "SharedLink",
    "SigninFailure",
    "SigninLink",
    "StoredContent",
    "StoredFile",
    "Tag",
    "TextSlice",
    "Webhook",
    "WebhookEndpoint",
]
