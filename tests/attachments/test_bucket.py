"""Attachments in a bucket: a real server with a service that speaks the protocol of S3, on this machine."""

import io
import secrets
from base64 import b64decode
from zipfile import ZipFile

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from chat.attachments.bucket import BucketStorage, BucketUnavailable
from chatsite.checks import packages_of_bucket
from chatsite.file_storage import attachments_storage, bucket_options
from tests.attachments.extraction.samples import picture
from tests.support.bucket import KEYS, Bucket, run_service
from tests.support.programs import until
from tests.support.provider_control import last_body
from tests.support.serving import Server
from tests.support.socket_client import ask, whole

WORDS = b"The code is 4711."
TEXT = {"Content-Type": "text/plain"}


def upload(session, data=WORDS, name="notes.txt"):
    return session.request("POST", f"/attachments/?name={name}", body=data, headers=TEXT)


def test_files_are_read_through_the_site_by_their_user_only_and_go_when_they_are_erased(
    serve, provider, bucket
):
    server = serve(provider.env_for_server | {"OPENAI_MODEL": "fake"} | bucket.env_for_server)
    ada, bob = server.sign_in("ada"), server.sign_in("bob")
    stored = upload(ada).json()
    (name,) = bucket.names()
    assert name.startswith("files/")
    assert upload(bob).status == 201
    assert not (server.data_dir / "attachments").exists()

    shown = ada.get(stored["url"])
    assert (shown.status, shown.text) == (200, WORDS.decode())
    assert bob.get(stored["url"]).status == 404
    assert server.visitor().get(stored["url"]).status == 302
    grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=name)["Grants"]
    assert [grant["Grantee"]["Type"] for grant in grants] == ["CanonicalUser"]
    server.query("from chat.models import Model; Model.objects.update(sees_images=True)")
    drawn = upload(ada, picture(), "red.png").json()
    with ada.socket() as socket:
        accepted = ask(socket, "which code", attachments=[stored["id"], drawn["id"]])
        assert whole(socket, accepted["generation"])
    text, image = last_body(provider)["messages"][-1]["content"]
    assert WORDS.decode() in text["text"]
    seen = b64decode(image["image_url"]["url"].partition(",")[2])
    assert Image.open(io.BytesIO(seen)).size == (40, 30)

    ada.post("/data/", {"what": "conversations", "username": "ada"})
    until(lambda: ada.get(stored["url"]).status == 404, "the erasure of ada's file")
    # Bob has it still. The second file with it goes now, too.
    until(lambda: bucket.names() == {name}, "the same content to be stored once")
    bob.post("/data/", {"what": "conversations", "username": "bob"})
    until(lambda: not bucket.names(), "the deletion of the file")


def test_the_zip_of_a_user_has_the_file(serve, bucket):
    server = serve(bucket.env_for_server)
    upload(server.sign_in("ada"))
    path = server.data_dir / "ada.zip"
    server.manage("export_conversations", str(path), "--user", "ada")
    with ZipFile(io.BytesIO(path.read_bytes())) as archive:
        (file,) = [name for name in archive.namelist() if name.endswith("notes.txt")]
        assert archive.read(file) == WORDS


def test_while_the_service_is_away_the_server_starts_and_says_so_and_nothing_else_fails(
    serve, provider, monkeypatch
):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with run_service() as (endpoint, service):
        own = Bucket(endpoint, f"test-{secrets.token_hex(6)}", service)
        env = provider.env_for_server | {"OPENAI_MODEL": "fake"} | own.env_for_server
        own.create()
        server = serve(env)
        ada = server.sign_in("ada")
        stored = upload(ada).json()
        service.kill9()
        assert ada.get(stored["url"]).status == 503
        refused = upload(ada, b"other words", "other.txt")
        assert (refused.status, refused.headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
        assert "could not be stored" in refused.text
        server.restart()
    assert f"The bucket “{own.name}” of CHATSITE_ATTACHMENTS cannot be used at the moment" in server.log
    with ada.socket() as socket:
        assert whole(socket, ask(socket, "hello")["generation"])
    assert "Traceback" not in server.log
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in server.log


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."),
        ({"CHATSITE_ATTACHMENTS": "s3://no-such-bucket?endpoint={endpoint}"}, "There is no such bucket."),
        ({"CHATSITE_ATTACHMENTS": "s3://key:{secret}@bucket"}, "must not have a key in it."),
    ],
)
def test_a_wrong_setting_stops_the_start_in_words(serve, bucket, change, advice):
    values = {"endpoint": bucket.endpoint, "secret": KEYS["AWS_SECRET_ACCESS_KEY"]}
    change = {name: value.format_map(values) for name, value in change.items()}
    server = serve(bucket.env_for_server | change, is_started=False)
    super(Server, server).start()
    assert server.wait() == 1
    (line,) = server.log.splitlines()
    assert "CHATSITE_ATTACHMENTS" in line
    assert advice in line
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in line


def test_a_missing_package_is_said_with_the_command_that_brings_it(settings, monkeypatch, tmp_path):
    assert packages_of_bucket() == []
    settings.STORAGES = settings.STORAGES | {
        "attachments": attachments_storage(bucket_options("s3://files"), tmp_path)
    }
    assert packages_of_bucket() == []
    monkeypatch.setattr("chatsite.checks.find_spec", lambda name: None)
    (error,) = packages_of_bucket()
    assert "requirements/bucket.txt" in error.hint


def test_an_object_is_whole_or_missing_and_a_refusal_is_an_error_of_files(bucket):
    storage = BucketStorage(**bucket.options)
    large = secrets.token_bytes(9 * 1024 * 1024)
    assert storage.save("ab/large", ContentFile(large)) == "ab/large"
    assert storage.open("ab/large").read() == large
    assert storage.exists("ab/large")
    # In one request: parts of a killed upload would stay, and no listing shows them.
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)
    assert "-" not in bucket.client.head_object(Bucket=bucket.name, Key="files/ab/large")["ETag"]
    storage.delete("ab/large")
    assert not storage.exists("ab/large")
    with pytest.raises(FileNotFoundError):
        storage.open("ab/large")
    other = BucketStorage(**{**bucket.options, "bucket": "no-such-bucket"})
    with pytest.raises(BucketUnavailable, match="NoSuchBucket"):
        other.open("ab/large")


def test_the_parts_of_an_address():
    assert bucket_options("s3://files/of/chat/?endpoint=http://127.0.0.1:9000&region=eu-1") == {
        "bucket": "files",
        "prefix": "of/chat/",
        "endpoint": "http://127.0.0.1:9000",
        "region": "eu-1",
        "style": "path",
    }
    assert bucket_options("s3://files") == {
        "bucket": "files",
        "prefix": "",
        "endpoint": "",
        "region": "",
        "style": "auto",
    }
