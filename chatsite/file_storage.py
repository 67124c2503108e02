"""Where the files of attachments are: a folder, or a bucket of an S3-compatible service."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

EXAMPLE = "s3://bucket/prefix?endpoint=https://s3.example.org&region=eu-1"
BUCKET = "chat.attachments.bucket.BucketStorage"
OPTIONS = ("endpoint", "region", "style")


def attachments_storage(bucket: dict[str, str], data_dir: Path) -> dict[str, Any]:
    """Return the storage of attachments for Django's STORAGES. `bucket`: its options; empty: a folder."""
    if bucket:
        return {"BACKEND": BUCKET, "OPTIONS": bucket}
    # Outside the web root: a view checks each access. Folders and files that only this user can read.
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": data_dir / "attachments",
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    }


def bucket_options(address: str) -> dict[str, str]:
    """Return the options of a bucket with an address such as EXAMPLE.

    Raises ValueError, which says what is wrong without the address: a key may be in the wrong place.
    """
    url = urlsplit(address)
    if url.scheme != "s3":
        raise ValueError("does not begin with s3://")
    if "@" in url.netloc:
        raise ValueError("must not have a key in it. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", url.netloc):
        raise ValueError("has no valid name of a bucket after s3://")
    try:
        given = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise ValueError("has no valid options after “?”") from None
    if not set(given) <= set(OPTIONS):
        raise ValueError(f"has an option that is not one of: {', '.join(OPTIONS)}")
    endpoint = given.get("endpoint", "")
    if endpoint and not re.fullmatch(r"https?://[^/?#@\s]+/?", endpoint):
        raise ValueError("has an endpoint that is not like https://s3.example.org")
    # Services other than Amazon's seldom have a host name for each bucket.
    style = given.get("style", "path" if endpoint else "auto")
    if style not in ("auto", "path", "virtual"):
        raise ValueError("has a style that is neither path nor virtual")
    prefix = url.path.strip("/")
    return {
        "bucket": url.netloc,
        "prefix": f"{prefix}/" if prefix else "",
        "endpoint": endpoint,
        "region": given.get("region", ""),
        "style": style,
    }
