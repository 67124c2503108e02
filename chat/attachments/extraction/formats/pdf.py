"""PDF: the text of its pages, and pictures of pages that have none, such as scanned ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing

import pypdfium2
import pypdfium2.raw as pdfium

from chat.attachments.extraction.formats import plain
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import StopParsing, TextBuilder
from chat.attachments.extraction.types import Extracted, ExtractedImage, ExtractionRefused

# A scanned page may have a stamped number as its only text.
_SCAN_MAX_CHARS = 16
# Points to pixels: larger than this, a small page would only be blurred.
_SCALE_MAX = 4.0
# The part of the time that rendering must leave for the rest.
_TIME_KEPT = 0.35


def read(source: SourceFile, media_type: str) -> Extracted:
    """Return text and pictures of pages. Raises ExtractionRefused."""
    try:
        document = pypdfium2.PdfDocument(source.path)
    except pypdfium2.PdfiumError as exc:
        raise _refusal(exc) from None
    with closing(document):
        pages = len(document)
        used = min(pages, source.limits.pages_max)
        if not used:
            raise ExtractionRefused("damaged", "This PDF has no pages.")
        out = TextBuilder(source.limits.text_max_chars)
        textless = _read_texts(document, used, out)
        if used < pages and not out.is_full:
            source.note(f"Only the first {used:,} of {pages:,} pages are used.")
        images = tuple(_pictures(source, document, textless))
        _note_more(source, document)
    text = out.text
    plain.note_invisible(source, text)
    is_truncated = used < pages or len(images) < len(textless)
    return source.text_result(media_type, text, pages=pages, images=images, is_truncated=is_truncated)


def _refusal(exc: pypdfium2.PdfiumError) -> ExtractionRefused:
    if exc.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
        return ExtractionRefused(
            "encrypted", "This PDF is protected by a password. Save it without one, and attach it again."
        )
    return ExtractionRefused("damaged", "This PDF is damaged or incomplete.")


def _read_texts(document: pypdfium2.PdfDocument, used: int, out: TextBuilder) -> list[int]:
    """Add the texts of pages; return the numbers of those that have none, but something else, from 0."""
    textless: list[int] = []
    try:
        for number in range(used):
            text, is_picture = _text_of(document, number)
            if is_picture:
                textless.append(number)
            if text.strip():
                out.heading(f"Page {number + 1}")
                out.add(text.replace("\r\n", "\n").replace("\r", "\n"))
    except StopParsing:
        pass
    return textless


def _text_of(document: pypdfium2.PdfDocument, number: int) -> tuple[str, bool]:
    """Return the text of a page, and whether the page is better seen than read."""
    try:
        with closing(document[number]) as page, closing(page.get_textpage()) as text_page:
            text: str = text_page.get_text_bounded()
            letters = len(text.strip())
            if letters >= _SCAN_MAX_CHARS:
                return text, False
            if not letters:
                return text, pdfium.FPDFPage_CountObjects(page) > 0
            pictures = page.get_objects(filter=(pdfium.FPDF_PAGEOBJ_IMAGE,), max_depth=3)
            return text, next(pictures, None) is not None
    except pypdfium2.PdfiumError:
        return "", False


def _pictures(
    source: SourceFile, document: pypdfium2.PdfDocument, numbers: list[int]
) -> Iterator[ExtractedImage]:
    done = 0
    for number in numbers[: source.limits.page_images_max]:
        if source.time_left < _TIME_KEPT:
            break
        picture = _picture_of(source, document, number)
        if picture is not None:
            yield picture
        done += 1
    if done:
        source.note("Pages without text are given as pictures, for models that see.")
    if done < len(numbers):
        source.note(f"Of {len(numbers):,} pages without text, only the first {done} are given.")


def _picture_of(source: SourceFile, document: pypdfium2.PdfDocument, number: int) -> ExtractedImage | None:
    from chat.attachments.extraction.formats import image  # its library takes as long to import as this one

    try:
        with closing(document[number]) as page:
            width, height = page.get_size()
            longer = max(width, height)
            if not (math.isfinite(longer) and longer > 0):
                return None
            scale = min(source.limits.page_side_max / longer, _SCALE_MAX)
            if min(width, height) * scale < 1:
                return None
            with closing(page.render(scale=scale)) as bitmap:
                return image.encode(bitmap.to_pil().convert("RGB"), is_sharp=False)
    except (pypdfium2.PdfiumError, ValueError):
        return None


def _note_more(source: SourceFile, document: pypdfium2.PdfDocument) -> None:
    attached = document.count_attachments()
    if attached > 0:
        source.note(f"Files that are embedded in it were left out: {attached}.")
    if pdfium.FPDFDoc_GetJavaScriptActionCount(document) > 0:
        source.note("It has scripts. They were not run.")
    if document.get_formtype() in (pdfium.FORMTYPE_XFA_FULL, pdfium.FORMTYPE_XFA_FOREGROUND):
        source.note("It is a form that only some programs show; its content may be missing.")
