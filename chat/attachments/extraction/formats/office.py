"""What the formats of Office have in common: relationships of parts, and parts that are not read."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from chat.attachments.extraction.archive import Archive, XmlHandlers
from chat.attachments.extraction.source import SourceFile


class Relationship(NamedTuple):
    """`kind`: the last word of its type; `target`: the name of a part, or an address outside."""

    id: str
    kind: str
    target: str
    is_external: bool


def relationships(archive: Archive, part: str) -> list[Relationship]:
    """Return what a part refers to."""
    folder, _, base = part.rpartition("/")
    found: list[Relationship] = []

    class Handlers(XmlHandlers):
        def start(self, tag: str, attributes: dict[str, str]) -> None:
            if tag == "Relationship":
                target = attributes.get("Target", "")
                is_external = attributes.get("TargetMode") == "External"
                if not is_external:
                    target = posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/")
                kind = attributes.get("Type", "").rpartition("/")[2]
                found.append(Relationship(attributes.get("Id", ""), kind, target, is_external))

    archive.parse(f"{folder}/_rels/{base}.rels".lstrip("/"), Handlers())
    return found


def note_unread_parts(source: SourceFile, archive: Archive, main_part: str) -> None:
    """Tell people what of a document is not read."""
    names = [name.lower() for name in archive.names]
    if any(name.endswith("vbaproject.bin") for name in names):
        source.note("It has macros. They were neither read nor run.")
    pictures = sum("/media/" in name for name in names)
    if pictures:
        source.note(f"Pictures in it were left out: {pictures}. Attach them separately, or as a PDF.")
    embedded = sum("/embeddings/" in name for name in names)
    if embedded:
        source.note(f"Files that are embedded in it were left out: {embedded}.")
    if any(each.is_external and each.kind != "hyperlink" for each in relationships(archive, main_part)):
        source.note("It refers to files elsewhere, which were not fetched.")
