"""Workbooks: the cells of all sheets, as lines with tabs."""

from __future__ import annotations

from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

from chat.attachments.extraction.archive import Archive, damaged
from chat.attachments.extraction.cells import cell_text
from chat.attachments.extraction.formats import office, opendocument
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import StopParsing, TextBuilder
from chat.attachments.extraction.types import Extracted, ExtractionRefused

MAIN_PART = "xl/workbook.xml"


def read(source: SourceFile, media_type: str) -> Extracted:
    archive = Archive(source)
    if archive.claimed_bytes() > source.limits.unpacked_max_bytes:
        raise ExtractionRefused("unsafe", "What is packed in this file is far too large. It was not read.")
    opendocument.refuse_encrypted(archive)
    out = TextBuilder(source.limits.text_max_chars)
    source.file.seek(0)
    try:
        workbook = CalamineWorkbook.from_filelike(source.file)
        names = workbook.sheet_names
        for name in names[: source.limits.pages_max]:
            _read_sheet(source, workbook, name, out)
    except StopParsing:
        pass
    except (CalamineError, ValueError, OSError):
        raise damaged() from None
    if MAIN_PART in archive.names:
        office.note_unread_parts(source, archive, MAIN_PART)
    else:
        opendocument.note_unread_parts(source, archive)
    return source.text_result(media_type, out.text, pages=len(names))


def _read_sheet(source: SourceFile, workbook: CalamineWorkbook, name: str, out: TextBuilder) -> None:
    hidden = {each.name for each in workbook.sheets_metadata if each.visible != SheetVisibleEnum.Visible}
    try:
        sheet = workbook.get_sheet_by_name(name)
    except CalamineError:  # a chart, or damaged
        source.note(f"Sheet “{name[:60]}” has no cells that can be read.")
        return
    out.heading(name + (" (hidden)" if name in hidden else ""))
    for row in sheet.iter_rows():
        line = "\t".join(" ".join(cell_text(cell).split()) for cell in row).rstrip()
        out.add(f"{line}\n")
