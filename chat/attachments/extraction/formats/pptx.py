"""PowerPoint presentations: the text of each slide in order, and what its speaker wrote below it."""

from __future__ import annotations

import re

from chat.attachments.extraction.archive import Archive, XmlHandlers
from chat.attachments.extraction.formats import office
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import StopParsing, TextBuilder
from chat.attachments.extraction.types import Extracted

MAIN_PART = "ppt/presentation.xml"
_SLIDE = re.compile(r"ppt/slides/slide(\d{1,6})\.xml")
_SKIPPED = frozenset({"Fallback", "fld"})


class SlideHandlers(XmlHandlers):
    def __init__(self, out: TextBuilder) -> None:
        self._out = out
        self._in_text = False
        self._skipped = 0
        self._cells = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag:
            case _ if tag in _SKIPPED:
                self._skipped += 1
            case "t":
                self._in_text = True
            case "br":
                self._out.add("\n")
            case "tc":
                self._cells += 1

    def end(self, tag: str) -> None:
        match tag:
            case _ if tag in _SKIPPED:
                self._skipped -= 1
            case "t":
                self._in_text = False
            case "p" if self._cells:
                self._out.add(" ")
            case "p":
                self._out.end_line()
            case "tc":
                self._cells -= 1
                self._out.add("\t")
            case "tr":
                self._out.add("\n")

    def text(self, text: str) -> None:
        if self._in_text and not self._skipped:
            self._out.add(text)


class _SlideIds(XmlHandlers):
    """The relationship ids of slides, in the order in which they are shown."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "sldId":
            self.found.append(attributes.get("id", ""))


def slide_parts(archive: Archive) -> list[str]:
    """Return the parts of all slides: as the presentation orders them, then others by number."""
    ids = _SlideIds()
    archive.parse(MAIN_PART, ids)
    targets = {each.id: each.target for each in office.relationships(archive, MAIN_PART)}
    ordered = [targets[each] for each in ids.found if each in targets]
    numbers = {name: int(found[1]) for name in archive.names if (found := _SLIDE.fullmatch(name))}
    known = dict.fromkeys(name for name in ordered if name in archive.names)
    return [*known, *sorted(numbers.keys() - known.keys(), key=lambda name: numbers[name])]


def read(source: SourceFile, media_type: str) -> Extracted:
    archive = Archive(source)
    out = TextBuilder(source.limits.text_max_chars)
    slides = slide_parts(archive)
    try:
        for number, part in enumerate(slides[: source.limits.pages_max], 1):
            _read_slide(archive, out, part, number)
            if out.is_full:
                break
    except StopParsing:
        pass
    if len(slides) > source.limits.pages_max:
        source.note(f"Only the first {source.limits.pages_max:,} of {len(slides):,} slides are used.")
    office.note_unread_parts(source, archive, MAIN_PART)
    return source.text_result(media_type, out.text, pages=len(slides))


def _read_slide(archive: Archive, out: TextBuilder, part: str, number: int) -> None:
    out.heading(f"Slide {number}")
    archive.parse(part, SlideHandlers(out))
    for each in office.relationships(archive, part):
        if each.kind == "notesSlide" and not out.is_full:
            out.end_line()
            out.add("Notes: ")
            archive.parse(each.target, SlideHandlers(out))
