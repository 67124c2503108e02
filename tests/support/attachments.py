"""Attachments for tests, stored as an upload stores them, but without extraction."""

import hashlib
from io import BytesIO
from pathlib import Path

from chat.attachments.bucket import BucketStorage
from chat.models import Attachment, LooseFile, StoredContent
from chat.models.stored_content import NewContent, storage


def attach(user, name="picture.png", *, data=b"not really a picture", kind="image", **fields):
    """Store an attachment of a user that no message has."""
    new = NewContent.of(BytesIO(data))
    LooseFile.objects.create(path=new.path)
    new.write(BytesIO(data))
    media_type = "image/png" if kind == "image" else "text/plain"
    values = {"tokens": 100, "media_type": media_type, "upload_sha256": hashlib.sha256(data).hexdigest()}
    values["size_bytes"] = len(data)
    return Attachment.objects.create(
        user=user,
        name=name,
        kind=kind,
        content=StoredContent.adopt(new),
        **{**values, **fields},
    )


def stored_files():
    """Return the paths of all files in the storage."""
    found = storage()
    if isinstance(found, BucketStorage):
        pages = found.client.get_paginator("list_objects_v2").paginate(Bucket=found.bucket)
        names = (each["Key"] for page in pages for each in page.get("Contents", ()))
        return {name.removeprefix(found.prefix) for name in names}
    root = Path(found.location)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
