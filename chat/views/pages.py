"""The chat page: a new or an existing conversation, and the composer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models import Attachment, Conversation, Message, Model, Preferences, Project
from chat.transcript.messages import MessagePage, message_page, new_client_id
from chat.views.access import AuthenticatedRequest, signed_in, status_of
from chat.views.forms import NewSettingsForm
from chat.views.js_messages import JS_MESSAGES
from chat.views.models import batch_percent, model_choices
from chat.views.origins import known_addresses
from chat.views.sidebar import sidebar_of
from chat.views.start import Start, new_settings
from chat.views.transcript import number_from


@dataclass(frozen=True, slots=True)
class Composer:
    """Content of the page's form, after a refused request or for an edit."""

    text: str = ""
    refused: RequestRefused | None = None
    is_edit: bool = False
    parent_id: int | None = None
    model_id: int | None = None
    # Only for a new conversation.
    system_prompt: str = ""
    temperature: float | None = None
    is_later: bool = False
    attachments: Sequence[Attachment] = ()
    client_id: str = field(default_factory=new_client_id)

    @property
    def status(self) -> int:
        return status_of(self.refused) if self.refused else 200


def page(
    request: AuthenticatedRequest,
    conversation: Conversation | None = None,
    composer: Composer | None = None,
    *,
    before: int | None = None,
    until: int | None = None,
) -> HttpResponse:
    """Render the whole chat page. `before`, `until`: see `message_page`."""
    composer = composer or Composer()
    offered = list(Model.objects.offered())
    preferences = Preferences.of(request.user)
    start = None if conversation else Start.of(request, preferences)
    wanted_id = composer.model_id or (conversation.model_id if conversation else start and start.model_id)
    model = next((model for model in offered if model.pk == wanted_id), offered[0] if offered else None)
    messages = MessagePage(None, [])
    if conversation is not None:
        messages = message_page(conversation, before=before, until=until)
        messages.note_seen()
    context = {
        "conversation": conversation,
        "transcript": messages,
        "composer": composer,
        "new_settings": None if start is None else _settings_form(start, composer),
        "start": start,
        "text_size": preferences.text_size,
        "is_sidebar_closed": request.COOKIES.get("sidebar") == "closed",
        "models": model_choices(offered, preferences.favourite_models),
        "model": model,
        "can_answer_later": any(each.endpoint.has_batch_api for each in offered),
        "batch_percent": batch_percent(model),
        "sidebar": sidebar_of(request, conversation),
        "projects": Project.objects.of(request.user),
        "examples": example_prompts(),
        "max_chars": settings.MESSAGE_MAX_CHARS,
        "max_file_bytes": settings.ATTACHMENT_MAX_BYTES,
        "known_addresses": known_addresses(request),
        "js_messages": JS_MESSAGES,
        "is_access_visible": settings.ACCESS_VISIBLE_TO_USERS,
    }
    return render(request, "chat/chat.html", context, status=composer.status)


def _settings_form(start: Start, composer: Composer) -> NewSettingsForm:
    """Return the form with what was sent and refused, or with what the conversation starts with."""
    if composer.refused:
        return new_settings(composer.system_prompt, composer.temperature)
    return start.form()


@dataclass(frozen=True, slots=True)
class ExamplePrompt:
    """A beginning for an empty page. `icon`: a symbol of chat/_icons.html."""

    icon: str
    label: str
    prompt: str


def example_prompts() -> list[ExamplePrompt]:
    """Return the example prompts of an empty page."""
    return [
        ExamplePrompt("bulb", _("Explain something"), _("Explain to a ten-year-old how rainbows form")),
        ExamplePrompt(
            "mail", _("Write an email"), _("Write a short, friendly email to move a meeting to Friday")
        ),
        ExamplePrompt(
            "table",
            _("Make a table"),
            _("Make a table of three European capitals with country, river and population"),
        ),
        ExamplePrompt(
            "code",
            _("Write code"),
            _("Write a Python function that checks whether a word is a palindrome"),
        ),
    ]


@signed_in("GET")
def chat(request: AuthenticatedRequest) -> HttpResponse:
    """Render an empty page for a new conversation."""
    return page(request)


@signed_in("GET")
def conversation(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Render the newest messages of a conversation, those before `?before=`, or those up to `?until=`."""
    found = Conversation.get_for(request.user, pk)
    return page(
        request, found, before=number_from(request.GET, "before"), until=number_from(request.GET, "until")
    )


@signed_in("GET")
def edit(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Render the page with an earlier message in the composer.

    Sending the form creates a new version of that message.
    """
    message = Message.get_for(request.user, pk)
    if message.role != Message.Role.USER:
        raise RequestRefused("bad_parent", _("You can edit only your own messages."))
    composer = Composer(
        message.text,
        is_edit=True,
        parent_id=message.parent_id,
        attachments=Attachment.by_message([message]).get(pk, ()),
    )
    return page(request, message.conversation, composer)


def favicon(request: HttpRequest) -> HttpResponse:
    """Redirect to the icon, for pages that do not name one, such as the admin's."""
    return redirect(static("chat/icon.svg"))
