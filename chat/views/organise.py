"""Organise conversations: pin, archive, move to projects, one by one or many at once; and the projects."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.errors import RequestRefused
from chat.models import Conversation, Project, ProjectFile, Tag
from chat.models.conversation import ConversationQuerySet
from chat.models.project import PROJECTS_MAX
from chat.runtime.process import current_runtime
from chat.text import clean
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.filters import ListQuery
from chat.views.forms import CleanedField, ModelMenuForm
from chat.views.sidebar import delete_and_stop

PAGE_CONVERSATIONS = 200
ACTIONS = ("pin", "unpin", "archive", "unarchive", "move", "tag", "untag", "delete")


class ProjectForm(ModelMenuForm):
    class Meta:
        model = Project
        fields = ["name", "instructions", "model"]
        field_classes = {"name": CleanedField, "instructions": CleanedField}
        help_texts = {
            "instructions": gettext_lazy("The system prompt of new conversations in this project."),
            "model": gettext_lazy("The model of new conversations in this project."),
        }
        widgets = {"instructions": forms.Textarea(attrs={"rows": 4, "dir": "auto"})}


@signed_in("GET", "POST")
def organise(request: AuthenticatedRequest, project_id: int | None = None) -> HttpResponse:
    """Show conversations with check boxes, all or those of a project; change the chosen ones."""
    project = None if project_id is None else Project.get_for(request.user, project_id)
    if request.method == "POST":
        changed = _change(request, request.POST.getlist("id"), request.POST)
        text = ngettext("%(number)d conversation changed.", "%(number)d conversations changed.", changed)
        messages.info(request, text % {"number": changed})
        return redirect(request.get_full_path())
    query = clean(request.GET.get("q", "")).strip()
    found = _found(request, query, project)[: PAGE_CONVERSATIONS + 1]
    conversations = list(found.select_related("project").prefetch_related("tags"))
    context = {
        "query": query,
        "project": project,
        "form": ProjectForm(instance=project) if project else None,
        "files": ProjectFile.of(project.pk) if project else [],
        "projects": list(Project.objects.of(request.user)),
        "tags": list(Tag.objects.of(request.user)),
        "conversations": conversations[:PAGE_CONVERSATIONS],
        "has_more": len(conversations) > PAGE_CONVERSATIONS,
    }
    return render(request, "chat/organise.html", context)


def _found(request: AuthenticatedRequest, query: str, project: Project | None) -> ConversationQuerySet:
    asked = ListQuery.parse(query)
    found = asked.apply(Conversation.objects.of(request.user).listable().order_by("-updated_at", "-pk"))
    if asked.words:
        found = found.filter(pk__in=list(asked.find(request.user).message_of))
    return found if project is None else found.filter(project=project)


@signed_in("POST")
def organise_one(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Pin or archive a conversation, undo that, or move it to a project."""
    Conversation.get_for(request.user, pk)
    _change(request, [str(pk)], request.POST)
    if request.htmx:
        response = HttpResponse(status=200)
        response["HX-Trigger"] = '{"conversations-changed": "", "projects-changed": "", "dialog-done": ""}'
        return response
    return redirect("conversation", pk=pk)


@signed_in("GET")
def move(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show the projects that a conversation can be moved to."""
    conversation = Conversation.get_for(request.user, pk)
    context = {"conversation": conversation, "projects": list(Project.objects.of(request.user))}
    return render(request, "chat/_move.html" if request.htmx else "chat/move.html", context)


@signed_in("GET", "POST")
def tags(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show and change the tags of a conversation."""
    conversation = Conversation.get_for(request.user, pk)
    error = ""
    text = ", ".join(tag.name for tag in conversation.tags.all())
    if request.method == "POST":
        text = clean(request.POST.get("tags", ""))
        try:
            Tag.replace(request.user, Tag.names_in(text), conversation)
        except RequestRefused as refused:
            error = refused.message
        else:
            current_runtime().notifications.changed(request.user.pk, pk, "organised")
            if not request.htmx:
                return redirect("conversation", pk=pk)
            response = HttpResponse()
            response["HX-Trigger"] = '{"conversations-changed": "", "dialog-done": ""}'
            return response
    known = Tag.objects.of(request.user)
    context = {"conversation": conversation, "text": text, "tags": known, "error": error}
    template = "chat/_tags.html" if request.htmx else "chat/tags.html"
    return render(request, template, context, status=422 if error else 200)


def _change(request: AuthenticatedRequest, ids: Iterable[str], data: QueryDict) -> int:
    """Change these conversations of the user, and return how many there were."""
    action = data.get("action")
    if action not in ACTIONS:
        raise RequestRefused("malformed", _("Choose what to do with the conversations."))
    own = Conversation.objects.of(request.user).listable().filter(pk__in=list(_uuids(ids)))
    chosen = list(own)
    now = timezone.now()
    match action:
        case "delete":
            for conversation in chosen:
                delete_and_stop(request.user, conversation)
        case "move":
            own.update(project=_project_of(request, data))
        case "tag":
            Tag.add(request.user, Tag.names_in(data.get("tags", "")), chosen)
        case "untag":
            Tag.remove(request.user, Tag.names_in(data.get("tags", "")), chosen)
        case "pin" | "unpin":
            own.update(pinned_at=now if action == "pin" else None)
        case _:
            own.update(archived_at=now if action == "archive" else None)
    what = "deleted" if action == "delete" else "organised"
    for conversation in chosen:
        current_runtime().notifications.changed(request.user.pk, conversation.pk, what)
    return len(chosen)


def _project_of(request: AuthenticatedRequest, data: QueryDict) -> Project | None:
    """Return the project to move to: one of the user's, a new one by name, or none."""
    if name := " ".join(clean(data.get("new_project", "")).split())[:80]:
        return _create(request, name)
    project = data.get("project", "")
    if not project:
        return None
    return Project.get_for(request.user, int(project) if project.isascii() and project.isdigit() else 0)


def _create(request: AuthenticatedRequest, name: str) -> Project:
    if Project.objects.of(request.user).count() >= PROJECTS_MAX:
        text = _("You have %(limit)d projects, which is the limit. Delete one first.")
        raise RequestRefused("too_many_projects", text % {"limit": PROJECTS_MAX})
    return Project.objects.get_or_create(user=request.user, name=name)[0]


def _uuids(ids: Iterable[str]) -> Iterable[uuid.UUID]:
    for each in ids:
        try:
            yield uuid.UUID(each)
        except ValueError:
            continue


@signed_in("POST")
def create_project(request: AuthenticatedRequest) -> HttpResponse:
    """Create a project, and show it."""
    name = " ".join(clean(request.POST.get("name", "")).split())[:80]
    if not name:
        messages.info(request, _("Enter a name for the project."))
        return redirect("organise")
    return redirect("project", project_id=_create(request, name).pk)


@signed_in("POST")
def change_project(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Save what a project starts its conversations with, or delete it. Its conversations stay."""
    project = Project.get_for(request.user, project_id)
    if request.POST.get("action") == "delete":
        project.delete()
        messages.info(request, _("The project was deleted. Its conversations are on the list."))
        return redirect("organise")
    form = ProjectForm(request.POST, instance=project)
    try:
        with transaction.atomic():
            if form.is_valid():
                form.save()
                messages.info(request, _("Saved."))
            else:
                messages.error(request, form.errors.as_text())
    except IntegrityError:
        messages.error(request, _("You have another project with this name."))
    return redirect("project", project_id=project.pk)
