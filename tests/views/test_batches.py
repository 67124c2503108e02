"""Batches in the browser: uploaded, previewed, followed, downloaded; problems are named by line."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from chat.batches import feeding
from chat.models import Batch, Conversation, Generation, Message
from tests.batches.support import prompts, stored

pytestmark = pytest.mark.django_db


def upload(client, model, data=b"id,text\n1,One\n2,Two\n", name="rows.csv", **fields):
    values = {"model": model.pk, "template": "Sum up: {{text}}", **fields}
    return client.post(reverse("new_batch"), {**values, "file": SimpleUploadedFile(name, data)}, follow=True)


def answer(batch, text="**Said**"):
    feeding.feed(batch.pk)
    Message.objects.filter(generations__source="batch").update(text=text)
    Generation.objects.update(status="completed", finished_at=timezone.now())
    feeding.end_lines(batch.pk)
    feeding.feed(batch.pk)


def test_a_file_is_previewed_started_answered_and_downloaded(client, user, model):
    page = upload(client, model, system_prompt="Be brief.").content.decode()
    for text in ("Sum up: One", "Be brief.", "2 rows", "This provider has no batch API."):
        assert text in page
    assert not Generation.objects.exists()
    batch = Batch.objects.get()
    address = reverse("batch", args=[batch.pk])
    page = client.post(address, {"runner": "local"}, follow=True).content.decode()
    assert "data-is-active" in page
    assert "0 of 2" in page
    answer(batch)
    page = client.get(reverse("batch_progress", args=[batch.pk])).content.decode()
    assert "2 of 2 (100 %)" in page
    assert "data-is-active" not in page
    response = client.get(reverse("download_batch", args=[batch.pk, "csv"]))
    assert 'filename="rows-results.csv"' in response["Content-Disposition"]
    assert "rows.csv" in client.get(reverse("batches")).content.decode()


def test_pasted_prompts_with_a_schema_become_a_batch(client, user, model):
    fields = {
        "model": model.pk,
        "prompts": "One\nTwo\n",
        "temperature": "0.5",
        "schema": '{"type": "object"}',
    }
    client.post(reverse("new_batch"), fields)
    batch = Batch.objects.get()
    assert [line.prompt for line in batch.lines.all()] == ["One", "Two"]
    assert batch.parameters["temperature"] == 0.5
    assert batch.parameters["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("data", "name", "fields", "text"),
    [
        (b"text\n1,2\n3,4\n", "a.csv", {}, "Line 3: has 2 cells"),
        (b"", "a.csv", {}, "The upload has no rows."),
        (b"<b>\n1\n", "a.csv", {}, "There is no column “text”. The columns are: &lt;b&gt;."),
        (b"x", "a.pdf", {}, "Upload a file that ends in"),
        (b"text\n1\n", "a.csv", {"schema": "{"}, "This is not valid JSON"),
        (b"text\n1\n", "a.csv", {"temperature": "9"}, "less than or equal to 2"),
    ],
)
def test_a_bad_upload_is_shown_with_its_problems_and_keeps_the_form(
    client, user, model, data, name, fields, text
):
    response = upload(client, model, data, name, **fields)
    page = response.content.decode()
    assert response.status_code == 422
    assert text in page
    assert "Sum up: {{text}}" in page
    assert not Batch.objects.exists()


def test_a_file_that_is_too_large_is_refused(client, user, model, settings):
    settings.BATCH_UPLOAD_MAX_BYTES = 10
    assert "larger than" in upload(client, model, b"text\n" + b"x" * 20).content.decode()
    assert not Batch.objects.exists()


def test_hostile_text_is_inert(client, user, model, tmp_path):
    hostile = "<script>alert(1)</script>{{ 7 }}"
    batch = stored(tmp_path, user, model, f"text\n{hostile}\n")
    assert "<script>alert" not in client.get(reverse("batch", args=[batch.pk])).content.decode()
    batch.start()
    answer(batch, hostile)
    page = client.get(reverse("batch", args=[batch.pk])).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_result_is_opened_as_a_conversation(client, user, model, tmp_path):
    batch = stored(tmp_path, user, model, prompts(1), system_prompt="Be brief.")
    batch.start()
    address = reverse("open_batch_result", args=[batch.pk, 1])
    assert client.post(address).status_code == 404
    answer(batch)
    page = client.post(address, follow=True).content.decode()
    assert "<strong>Said</strong>" in page
    conversation = Conversation.objects.get()
    assert (conversation.is_hidden, conversation.system_prompt) == (False, "Be brief.")
    assert client.post(address).status_code == 302


def test_a_batch_is_paused_resumed_cancelled_retried_and_deleted(client, user, model, tmp_path):
    batch = stored(tmp_path, user, model, prompts(2))
    batch.start()

    def act(action):
        response = client.post(reverse("act_on_batch", args=[batch.pk, action]), follow=True)
        return response.content.decode()

    assert "Resume" in act("pause")
    assert "Pause" in act("resume")
    assert "Cancel the batch first." in act("delete")
    act("cancel")
    feeding.cancel_lines(batch.pk)
    feeding.feed(batch.pk)
    assert "Retry what failed" in client.get(reverse("batch", args=[batch.pk])).content.decode()
    act("retry")
    batch.refresh_from_db()
    assert batch.status == "in_progress"
    assert client.post(reverse("act_on_batch", args=[batch.pk, "save"])).status_code == 404
    act("cancel")
    feeding.cancel_lines(batch.pk)
    feeding.feed(batch.pk)
    act("delete")
    assert not Batch.objects.exists()


def test_a_provider_without_a_batch_api_cannot_be_chosen(client, user, model, tmp_path):
    batch = stored(tmp_path, user, model, prompts(1))
    page = client.post(reverse("batch", args=[batch.pk]), {"runner": "provider"}, follow=True)
    assert "has no batch API" in page.content.decode()
    batch.refresh_from_db()
    assert batch.status == "ready"


def test_the_rows_of_one_state_are_shown(client, user, model, tmp_path):
    batch = stored(tmp_path, user, model, prompts(60))
    batch.start()
    batch.lines.filter(number=7).update(state="failed", reason="No luck.")
    address = reverse("batch", args=[batch.pk])
    assert "Page 1 of 2" in client.get(address).content.decode()
    page = client.get(address, {"state": "unsuccessful"}).content.decode()
    assert "No luck." in page
    assert "question 8" not in page
    assert client.get(address, {"state": "odd", "page": "x"}).status_code == 200


def test_batches_of_another_user_are_like_missing_ones(client, user, other_user, model, tmp_path):
    batch = stored(tmp_path, other_user, model, prompts(1))
    key = [batch.pk]
    for address in (reverse("batch", args=key), reverse("batch_progress", args=key)):
        assert client.get(address).status_code == 404
    assert client.get(reverse("download_batch", args=[*key, "csv"])).status_code == 404
    assert client.post(reverse("act_on_batch", args=[*key, "cancel"])).status_code == 404
    assert client.post(reverse("open_batch_result", args=[*key, 1])).status_code == 404


def test_lines_of_the_batch_api_are_previewed(client, user, model):
    line = {
        "custom_id": "a",
        "body": {"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
    }
    page = upload(client, model, json.dumps(line).encode(), "a.jsonl")
    assert page.status_code == 200
