"""Files and batches by the official openai client, unmodified, with and without a batch API behind us."""

import json

import openai
import pytest

from tests.support.programs import until
from tests.support.server_settings import overridden


def lines(url, **bodies):
    """Return the lines of a batch as a file; the names of `bodies` are their ids."""
    rows = [
        {"custom_id": name, "method": "POST", "url": url, "body": {"model": "fake", **body}}
        for name, body in bodies.items()
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def chat(text):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 100}


def submit(client, data, endpoint, **options):
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options)


def run(client, data, endpoint="/v1/chat/completions"):
    """Run a batch to its end; return it and its results by custom id."""
    batch = submit(client, data, endpoint, metadata={"who": "me"})
    assert (batch.status, batch.metadata) == ("in_progress", {"who": "me"})
    batch = until(lambda: (found := client.batches.retrieve(batch.id)).completed_at and found, 30)
    ids = filter(None, (batch.output_file_id, batch.error_file_id))
    rows = [json.loads(row) for id in ids for row in client.files.content(id).text.splitlines()]
    return batch, {row["custom_id"]: row for row in rows}


def test_the_official_client_runs_batches_with_and_without_a_batch_api(api):
    api = api(**overridden(BATCH_POLL_S=0.2))
    client = api.client()
    data = lines("/v1/chat/completions", good=chat("hello"), bad=chat("[[status=400]]"))
    for has_batch_api in (False, True):
        api.server.shell(
            f"from chat.models import Endpoint; Endpoint.objects.update(has_batch_api={has_batch_api})"
        )
        batch, rows = run(client, data)
        assert batch.status == "completed"
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (
            2,
            1,
            1,
        )
        good = rows["good"]["response"]["body"]
        answer = client.chat.completions.create(model="fake", **chat("hello"))
        assert good["choices"][0]["message"]["content"] == answer.choices[0].message.content
        assert good["usage"]["total_tokens"] > 0
        assert rows["bad"]["response"] is None
        assert rows["bad"]["error"]["code"] == "rejected"
    endpoint = "/v1/responses"
    batch, rows = run(client, lines(endpoint, one={"input": "hello", "instructions": "Be brief."}), endpoint)
    assert rows["one"]["response"]["body"]["object"] == "response"
    assert rows["one"]["response"]["body"]["output"][0]["content"][0]["text"]
    check_listing(client, data)
    check_refusals(client, data)


def check_listing(client, data):
    """Read, list and delete what there is."""
    listed = list(client.batches.list(limit=2))
    assert len(listed) == 3
    assert listed == sorted(listed, key=lambda each: each.id, reverse=True)
    file = client.files.create(file=("b.jsonl", data), purpose="batch")
    assert client.files.retrieve(file.id).bytes == len(data)
    assert client.files.content(file.id).content == data
    assert file.id in {each.id for each in client.files.list(purpose="batch")}
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def check_refusals(client, data):
    """Bad files are batches that failed, with the problems by line; unknown ids are not found."""
    failed = submit(client, data + b"\nnonsense\n" + lines("/v1/x", c=chat("a")), "/v1/chat/completions")
    assert failed.status == "failed"
    assert [each.line for each in failed.errors.data] == [3, 4]
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(failed.id)
    failed = submit(client, lines("/v1/responses", a={"input": "x", "nonsense": 1}), "/v1/responses")
    assert "nonsense" in failed.errors.data[0].message
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_nonsense")
    with pytest.raises(openai.NotFoundError):
        client.batches.create(
            input_file_id="file-x", endpoint="/v1/chat/completions", completion_window="24h"
        )
    with pytest.raises(openai.BadRequestError):
        client.files.create(file=("in.jsonl", data), purpose="fine-tune")
    running = submit(client, lines("/v1/chat/completions", a=chat("[[stall]]")), "/v1/chat/completions")
    assert client.batches.cancel(running.id).status == "cancelling"
