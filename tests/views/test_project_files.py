"""Files of projects: added and removed on the project's page, and in each prompt as far as they fit."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from chat.errors import RequestRefused
from chat.event_log.writer import InlineWriter
from chat.generation.attached import AttachedFile, files_of_project
from chat.generation.prompt import fit, of_chat
from chat.models import Attachment, Conversation, Generation, Message, Model, Project, ProjectFile
from chat.models.project_file import FILES_MAX
from chat.runtime.http_limits import body_max_bytes
from chat.views import project_files
from tests.support.attachments import attach

pytestmark = pytest.mark.django_db
MODEL = Model(name="small", context_tokens=4_000)


@pytest.fixture(autouse=True)
def _writer(monkeypatch):
    monkeypatch.setattr(project_files, "current_runtime", lambda: SimpleNamespace(writer=InlineWriter()))


@pytest.fixture
def project(user):
    return Project.objects.create(user=user, name="Garden")


def add(client, project, data=b"Water the roses on Monday.", name="plan.txt"):
    address = reverse("project_files", args=[project.pk])
    return client.post(address, {"file": SimpleUploadedFile(name, data)}, follow=True)


def test_a_document_is_added_listed_and_removed(client, project):
    page = add(client, project).content.decode()
    assert "plan.txt" in page
    assert "tokens" in page
    file = Attachment.objects.get()
    Attachment.delete_unused(10)
    assert client.get(reverse("attachment", args=[file.pk])).status_code == 200
    address = reverse("project_files", args=[project.pk])
    page = client.post(address, {"remove": str(file.pk)}, follow=True).content.decode()
    assert "plan.txt" not in page
    Attachment.delete_unused(10)
    assert not Attachment.objects.exists()


def test_files_go_with_their_project_unless_a_message_has_them(user, project, seeing_model):
    kept, gone = (
        attach(user, kind="text", text="a", data=b"a"),
        attach(user, kind="text", text="b", data=b"b"),
    )
    for file in (kept, gone):
        ProjectFile.add(project, file)
    Conversation.ask(user, "look", client_id="c", attachments=[kept.pk])
    project.delete()
    Attachment.delete_unused(10)
    assert Attachment.objects.get() == kept


@pytest.mark.parametrize("values", [{}, {"remove": "nonsense"}, {"remove": str(uuid4())}, {"file": "text"}])
def test_nonsense_is_answered_in_words(client, project, values):
    response = client.post(reverse("project_files", args=[project.pk]), values, follow=True)
    assert response.status_code == 200
    assert not ProjectFile.objects.exists()


def test_a_project_of_another_user_does_not_exist(client, other_user):
    theirs = Project.objects.create(user=other_user, name="Theirs")
    assert add(client, theirs).status_code == 404
    assert not Attachment.objects.exists()


def test_only_documents_with_text_and_only_some(user, project):
    with pytest.raises(RequestRefused) as refused:
        ProjectFile.add(project, attach(user))
    assert refused.value.code == "no_text"
    for number in range(FILES_MAX):
        ProjectFile.add(project, attach(user, kind="text", text="t", data=bytes([number])))
    with pytest.raises(RequestRefused) as refused:
        ProjectFile.add(project, attach(user, kind="text", text="t", data=b"more"))
    assert refused.value.code == "too_many_files"


def test_the_text_goes_into_each_prompt_of_the_project(user, project, model):
    ProjectFile.add(project, attach(user, "plan.txt", kind="text", text="Water the roses.", tokens=5))
    inside = Conversation.ask(
        user, "what now?", client_id="in", project_id=project.pk, system_prompt="Be brief."
    )
    outside = Conversation.ask(user, "what now?", client_id="out")
    sent = [
        of_chat(Generation.objects.get(pk=started.generation_id), model).prompt.messages
        for started in (inside, outside)
    ]
    assert sent[0][0] == {
        "role": "system",
        "content": 'Be brief.\n\n<file name="plan.txt">\nWater the roses.\n</file>',
    }
    assert [message["role"] for message in sent[1]] == ["user"]
    assert ProjectFile.tokens_of(project.pk) == 5
    assert [file.name for file in files_of_project(project.pk)] == ["plan.txt"]


def test_what_does_not_fit_is_left_out_as_a_whole_and_said():
    files = [
        AttachedFile(name, tokens, text="w " * tokens)
        for name, tokens in (("a", 900), ("b", 900), ("c", 100))
    ]
    fitted = fit([Message(pk=1, role="user", text="hello")], MODEL, project_files=files)
    system = fitted.prompt.messages[0]["content"]
    assert '<file name="a">' in system
    assert '<file name="b">' not in system
    assert '<file name="c">' in system
    assert "did not fit: b" in system
    assert fitted.file_notes == [
        "“b” of the project was not sent: it does not fit into the context of small."
    ]


def test_conversations_without_a_project_need_no_query(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert ProjectFile.tokens_of(None) == 0
        assert files_of_project(None) == []


def test_only_the_upload_may_be_large(settings):
    assert body_max_bytes("/projects/12/files/") > settings.ATTACHMENT_MAX_BYTES
    assert body_max_bytes("/projects/12/change/") < 100_000
