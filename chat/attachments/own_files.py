"""The files of a user in the ZIP of their own data."""

from __future__ import annotations

from collections.abc import Iterator
from zipfile import ZipFile

from django.contrib.auth.models import AbstractUser

from chat.models.attachment import Attachment
from chat.transfer.export import safe_name


def write_attachments(user: AbstractUser, archive: ZipFile) -> Iterator[None]:
    """Write each file under its id and name, piece by piece; yield where what was written may be sent."""
    for pk in list(Attachment.objects.of(user).order_by("pk").values_list("pk", flat=True)):
        attachment = Attachment.objects.select_related("content").defer("text").filter(pk=pk).first()
        if attachment is None or attachment.content is None:  # erased since the download began
            continue
        stem, dot, ending = attachment.name.rpartition(".")
        if attachment.is_image:  # it was encoded again
            dot, ending = ".", attachment.media_type.rpartition("/")[2]
        name = f"{safe_name(stem or attachment.name)}{dot}{safe_name(ending)}"
        with archive.open(f"attachments/{pk}-{name}", "w", force_zip64=True) as file:
            for piece in attachment.content.pieces():
                file.write(piece)
                yield
        yield
