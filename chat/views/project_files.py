"""Files of a project: adding a document, and removing one."""

from __future__ import annotations

import uuid
from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from chat.attachments.upload import store_upload
from chat.errors import RequestRefused
from chat.models import Project, ProjectFile
from chat.runtime.process import current_runtime
from chat.text import clean
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.attachments import file_name


@signed_in("POST")
def project_files(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Add the file of the form to a project, or remove the one that it names."""
    project = Project.get_for(request.user, project_id)
    try:
        if remove := request.POST.get("remove", ""):
            _remove(project, remove)
        else:
            _add(request, project)
    except MultiPartParserError:
        messages.error(request, _("The upload was interrupted. Try again."))
    except RequestRefused as refused:
        messages.error(request, refused.message)
    return redirect("project", project_id=project.pk)


def _add(request: AuthenticatedRequest, project: Project) -> None:
    uploaded = request.FILES.get("file")
    if uploaded is None:
        raise RequestRefused("empty", _("Choose a file first."))
    writer = current_runtime().writer
    attachment = store_upload(
        writer,
        request.user,
        uploaded,
        name=file_name(uploaded.name or ""),
        declared_type=clean(uploaded.content_type or "")[:100],
    )
    writer.run(partial(ProjectFile.add, project, attachment))


def _remove(project: Project, attachment_id: str) -> None:
    try:
        pk = uuid.UUID(attachment_id)
    except ValueError as error:
        raise RequestRefused("not_found", _("This file does not exist.")) from error
    current_runtime().writer.run(partial(ProjectFile.remove, project, pk))
