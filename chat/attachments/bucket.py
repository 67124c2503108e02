"""A bucket of an S3-compatible service as the storage of attachments. Nothing else imports boto3.

Why not django-storages: it sends large files in parts, and the parts of an upload whose process was killed
stay in the bucket where no listing shows them. Here a file is one request: it is there as a whole or not at
all. It also asks whether a name exists before each write and each read; the names of contents are unique.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage

# Most files that are read are pictures of less. A larger one is read through a temporary file.
IN_MEMORY_MAX_BYTES = 1024 * 1024
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, CALLS_MAX = 5, 30, 3
# What `problem` writes, reads and deletes. Always the same, so that a killed process leaves one at most.
PROBE_NAME = "chatsite-check"
MISSING = {"NoSuchKey", "404"}
SET_BOTH = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
# The codes of services that say what to change, and the advice.
ADVICE = {
    "NoSuchBucket": "There is no such bucket. Create it, or correct its name.",
    "InvalidAccessKeyId": "The service does not know the key. Correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The secret key is wrong. Correct AWS_SECRET_ACCESS_KEY.",
    "AccessDenied": "The key may not use it. Allow it to put, get and delete objects.",
    "AllAccessDisabled": "The bucket is disabled.",
    "PermanentRedirect": "The bucket is in another region. Correct “region”.",
    "AuthorizationHeaderMalformed": "The bucket is in another region. Correct “region”.",
    "NoCredentialsError": f"No credentials were found. {SET_BOTH}",
    "PartialCredentialsError": f"Half of the credentials is missing. {SET_BOTH}",
}


class BucketUnavailable(OSError):
    """The service refused a request, or did not answer. `code`: as the service or boto3 names it."""

    def __init__(self, bucket: str, code: str) -> None:
        super().__init__(f"the bucket {bucket} cannot be used: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class BucketProblem:
    """Why a bucket cannot be used. `can_pass`: without a change of the settings or of the bucket."""

    message: str
    can_pass: bool


class BucketStorage(Storage):
    """The objects of a bucket whose names begin with a prefix. No address of one is given out."""

    def __init__(
        self, *, bucket: str, prefix: str = "", endpoint: str = "", region: str = "", style: str = "auto"
    ) -> None:
        self.bucket, self.prefix = bucket, prefix
        self._endpoint, self._region, self._style = endpoint, region, style

    @cached_property
    def client(self) -> Any:
        """The client of the service, which all threads may use."""
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": CALLS_MAX},
            s3={"addressing_style": self._style},
            # Services other than Amazon's do not all know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # A session of its own: the common one must not be used by two threads at once.
        return boto3.session.Session().client(
            "s3", endpoint_url=self._endpoint or None, region_name=self._region or None, config=config
        )

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def exists(self, name: str) -> bool:
        with suppress(FileNotFoundError), self._errors(name):
            self.client.head_object(**self._object(name))
            return True
        return False

    def delete(self, name: str) -> None:
        with self._errors(name):
            self.client.delete_object(**self._object(name))

    def _save(self, name: str, content: File[Any]) -> str:
        with self._errors(name):
            self.client.put_object(**self._object(name), Body=content.file)
        return name

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        """Read the whole object, so that an error comes before the first byte is passed on."""
        file = cast("IO[bytes]", SpooledTemporaryFile(IN_MEMORY_MAX_BYTES))  # noqa: SIM115 - it is returned
        with self._errors(name):
            shutil.copyfileobj(self.client.get_object(**self._object(name))["Body"], file)
        file.seek(0)
        return File(file, name)

    def problem(self) -> BucketProblem | None:
        """Write, read and delete an object. Return what is wrong, if anything is."""
        try:
            self.save(PROBE_NAME, ContentFile(b"check"))
            with suppress(FileNotFoundError):  # another server that starts has deleted it
                self.open(PROBE_NAME).close()
            self.delete(PROBE_NAME)
        except BucketUnavailable as exc:
            advice = ADVICE.get(exc.code)
            where = f"The bucket “{self.bucket}” of CHATSITE_ATTACHMENTS cannot be used"
            if advice is not None:
                return BucketProblem(f"{where}. {advice}", can_pass=False)
            return BucketProblem(f"{where} at the moment ({exc.code}).", can_pass=True)
        return None

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Raise boto3's errors as those of a file. Nothing of the request, which is signed, is in them."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code") or "unknown")
            if code in MISSING:
                raise FileNotFoundError(name) from None
            raise BucketUnavailable(self.bucket, code) from None
        except BotoCoreError as exc:
            raise BucketUnavailable(self.bucket, type(exc).__name__) from None
