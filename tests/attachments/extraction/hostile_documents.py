"""Documents that want to do harm: PDF, Office, OpenDocument, EPUB."""

import io
import struct
import zipfile
import zlib

from tests.attachments.extraction import samples
from tests.attachments.extraction.hostile import HostileFile

# Less than usually allowed, so that the tests need not pack so much.
UNPACKED = {"unpacked_max_bytes": 20_000_000}
WORDS = "Harmless words"
_OPAQUE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024)
_LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)


def pdf_files(address: str) -> list[HostileFile]:
    text = samples.text_page(WORDS)
    script = "/Names << /JavaScript << /Names [(a) << /S /JavaScript /JS (app.alert(1)) >>] >> >>"
    program = "<< /Type /Filespec /F (a.exe) /EF << /F 4 0 R >> >>"
    attached = f"/Names << /EmbeddedFiles << /Names [(a.exe) {program}] >> >>"
    launch = f"/OpenAction << /S /Launch /Win << /F (calc.exe) >> /Next << /S /URI /URI ({address}) >> >>"
    keys = f"/Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <{'41' * 32}> /U <{'42' * 32}>"
    ordinary = samples.pdf([text])
    bomb = zlib.compress(b"q Q " * 5_000_000, 9)
    return [
        HostileFile(
            "encrypted", samples.pdf(trailer=f"/Encrypt << {keys} >> /ID [<41> <41>]"), refused="encrypted"
        ),
        HostileFile("truncated", ordinary[:60], refused="damaged"),
        HostileFile("only a signature", b"%PDF-1.7\n" + bytes(2_000), refused="damaged"),
        HostileFile("no pages", samples.pdf([]), refused="damaged"),
        HostileFile("10,000 pages", samples.pdf([b""] * 10_000), note="first 2,000 of 10,000"),
        HostileFile("a page tree that contains itself", ordinary.replace(b"/Kids [5 0 R]", b"/Kids [2 0 R]")),
        HostileFile("two billion pages claimed", ordinary.replace(b"/Count 1", b"/Count 2147483647")),
        HostileFile(
            "a page as large as a country", samples.pdf([samples.SCANNED_PAGE], size="[0 0 1e9 1e9]")
        ),
        HostileFile("a page of no height", samples.pdf([samples.SCANNED_PAGE], size="[0 0 1e7 0.001]")),
        HostileFile("a table of objects that refers to itself", samples.pdf([text], trailer="/Prev 9")),
        HostileFile(
            "a packed page of 20 MB",
            samples.pdf([bomb], filters="/Filter /FlateDecode"),
            limits={"cpu_seconds": 2, "seconds": 20},
        ),
        HostileFile("scripts", samples.pdf([text], catalog=script), note="scripts", text=WORDS),
        HostileFile("starts a program", samples.pdf([text], catalog=launch), text=WORDS),
        HostileFile("embedded program", samples.pdf([text], catalog=attached), note="embedded", text=WORDS),
        HostileFile(
            "behind a web page", b"<html><script>alert(1)</script>\n" + ordinary, "x.pdf", text=WORDS
        ),
        HostileFile("before an archive", ordinary + samples.zipped({"a": "b"}), text=WORDS),
    ]


def word_files(address: str) -> list[HostileFile]:
    words = samples.paragraphs(WORDS)
    entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{address}">]>'
    remote = samples.relations(("rId1", "attachedTemplate", address), mode="External")
    deep = "<w:p>" * 50_000 + words + "</w:p>" * 50_000
    ordinary = samples.docx(words)
    return [
        HostileFile("entity bomb", samples.docx("<w:p>&i;</w:p>", _LAUGHS), refused="unsafe"),
        HostileFile("external entity", samples.docx("<w:p>&e;</w:p>", entity), refused="unsafe"),
        HostileFile(
            "document type elsewhere",
            samples.docx(words, f'<!DOCTYPE x SYSTEM "{address}">'),
            text=WORDS,
        ),
        HostileFile(
            "template elsewhere",
            samples.docx(words, word___rels__document_xml_rels=remote),
            note="not fetched",
        ),
        HostileFile("macros", samples.docx(words, word__vbaProject_bin=b"Shell"), "a.docm", note="macros"),
        HostileFile(
            "packed words without end",
            samples.docx(samples.paragraphs("a" * 5_000_000)),
            note="first 400,000",
        ),
        HostileFile(
            "packed blanks without end", samples.docx(" " * 30_000_000), refused="unsafe", limits=UNPACKED
        ),
        HostileFile("truncated", ordinary[:-40], refused="damaged"),
        HostileFile("protected entry", _patched(ordinary, 6, 1), refused="encrypted"),
        HostileFile("unknown compression", _patched(ordinary, 8, 97), refused="damaged"),
        HostileFile("entries that overlap", _overlapping(), refused="damaged"),
        HostileFile("nested without end", samples.docx(deep), text=WORDS),
        HostileFile("not closed", samples.docx("<w:p>" + words), refused="damaged"),
        HostileFile("no XML", samples.docx(word__document_xml=b"\x00\xff" * 100), refused="damaged"),
        HostileFile(
            "protected package", _OPAQUE + "EncryptedPackage".encode("utf-16-le"), refused="encrypted"
        ),
        HostileFile("old document", _OPAQUE, "old.doc", refused="unsupported"),
    ]


def other_documents(address: str) -> list[HostileFile]:
    far = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    formula = '<row r="1"><c r="A1" t="str"><f>1</f><v>=cmd|calc!A0</v></c></row>'
    repeated = 'table:number-columns-repeated="16384" office:value-type="string"'
    cell = f"<table:table-cell {repeated}><text:p>x</text:p>"
    many = (
        f'<table:table table:name="T"><table:table-row table:number-rows-repeated="1048576">{cell}'
        "</table:table-cell></table:table-row></table:table>"
    )
    words = f"<text:p>{WORDS}</text:p>"
    drm = '<encryption><CipherReference URI="OEBPS/c0.xhtml"/></encryption>'
    page = f"<p>{WORDS}</p><script src='{address}'></script><iframe src='{address}'></iframe>"
    return [
        HostileFile("cells at both ends of a sheet", samples.xlsx(far)),
        HostileFile(
            "entity bomb in a sheet", _with_prolog(samples.xlsx(), "xl/worksheets/sheet1.xml", _LAUGHS)
        ),
        HostileFile("formula", samples.xlsx(formula), text="=cmd"),
        HostileFile(
            "packed parts without end",
            samples.xlsx(xl__a_xml=" " * 30_000_000),
            refused="unsafe",
            limits=UNPACKED,
        ),
        HostileFile("seventeen billion cells", samples.opendocument("spreadsheet", many)),
        HostileFile(
            "a billion blanks",
            samples.opendocument("text", f'{words}<text:p><text:s text:c="999999999"/></text:p>'),
            text=WORDS,
        ),
        HostileFile("entity bomb in a text", samples.opendocument("text", "&i;", _LAUGHS), refused="unsafe"),
        HostileFile("macros in a text", samples.opendocument("text", words, Basic__a_xml="x"), note="macros"),
        HostileFile(
            "protected text",
            samples.opendocument("text", words, **{"META-INF__manifest_xml": "<encryption-data/>"}),
            refused="encrypted",
        ),
        HostileFile("protected book", samples.epub(page, encryption=drm), refused="encrypted"),
        HostileFile("book with scripts", samples.epub(page), text=WORDS),
        HostileFile("book of files elsewhere", _book_of("../../../../etc/passwd"), refused="damaged"),
        HostileFile("slides elsewhere", _slides_at("../../../../../etc/passwd")),
        HostileFile("more entries than any document", _claiming_entries(samples.docx()), refused="unsafe"),
        HostileFile(
            "an archive in an archive",
            samples.zipped({"a.zip": samples.zipped({"b": "c"})}),
            "a.docx",
            refused="unsupported",
        ),
        HostileFile(
            "paths upwards", samples.zipped({"../../etc/passwd": "x"}), "a.docx", refused="unsupported"
        ),
        HostileFile("program of Java", samples.zipped({"A.class": "x"}), "a.xlsx", refused="unsupported"),
        HostileFile("empty archive", samples.zipped({}), "a.docx", refused="unsupported"),
    ]


def _patched(archive: bytes, offset: int, value: int) -> bytes:
    """Return an archive with another flag or method in all of its headers; `offset`: in a local one."""
    out = bytearray(archive)
    for signature, further in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        place = -1
        while (place := out.find(signature, place + 1)) >= 0:
            struct.pack_into("<H", out, place + offset + further, value)
    return bytes(out)


def _overlapping() -> bytes:
    """Return an archive whose entries share their packed bytes, which multiplies what is unpacked."""
    archive = samples.zipped({"word/a": "a" * 10_000, "word/document.xml": "b" * 10_000})
    second = archive.find(b"PK\x01\x02", archive.find(b"PK\x01\x02") + 1)
    out = bytearray(archive)
    struct.pack_into("<I", out, second + 42, 8)
    return bytes(out)


def _claiming_entries(archive: bytes) -> bytes:
    out = bytearray(archive)
    struct.pack_into("<H", out, out.rfind(b"PK\x05\x06") + 10, 65535)
    return bytes(out)


def _with_prolog(archive: bytes, name: str, prolog: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        entries: dict[str, str | bytes] = {each: opened.read(each) for each in opened.namelist()}
    entries[name] = prolog.encode() + bytes(entries[name])
    return samples.zipped(entries)


def _book_of(path: str) -> bytes:
    return samples.zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfile full-path="book.opf"/></container>',
            "book.opf": f'<package><item id="a" href="{path}"/><itemref idref="a"/></package>',
        }
    )


def _slides_at(path: str) -> bytes:
    return samples.zipped(
        {
            "ppt/presentation.xml": f'<p:presentation {samples.A}><p:sldId r:id="rId1"/></p:presentation>',
            "ppt/_rels/presentation.xml.rels": samples.relations(("rId1", "slide", path)),
        }
    )
