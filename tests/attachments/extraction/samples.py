"""Files of each format, as their programs write them, in as few bytes as possible."""

import io
import zipfile
from collections.abc import Iterable

from PIL import Image

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
S = (
    'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
ODF = (
    " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table")
    )
    + ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
)
RELS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
REL_TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


WORKSHEET = '<sheet name="Sums" sheetId="1" r:id="rId1"/>'


def zipped(entries: dict[str, str | bytes], **options) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", options.get("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def paragraphs(*texts: str) -> str:
    return "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in texts)


def docx(body: str = paragraphs("Words of Word"), prolog: str = "", **parts: str | bytes) -> bytes:
    """`parts`: further entries, their names with __ for / and _ in the last part for a dot."""
    entries: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "word/document.xml": f"{prolog}<w:document {W}><w:body>{body}</w:body></w:document>",
    }
    return zipped(entries | {_entry(name): content for name, content in parts.items()})


def _entry(name: str) -> str:
    folder, _, base = name.rpartition("__")
    return "/".join([*folder.split("__"), base.replace("_", ".")]).lstrip("/")


def relations(*rows: tuple[str, str, str], mode: str = "") -> str:
    mode = f' TargetMode="{mode}"' if mode else ""
    items = "".join(
        f'<Relationship Id="{key}" Type="{REL_TYPE}/{kind}" Target="{target}"{mode}/>'
        for key, kind, target in rows
    )
    return f"<Relationships {RELS}>{items}</Relationships>"


def slide(*texts: str) -> str:
    return f"<p:sld {A}>{''.join(f'<a:p><a:r><a:t>{text}</a:t></a:r></a:p>' for text in texts)}</p:sld>"


def pptx(first: str = slide("Shown first"), second: str = slide("Shown second")) -> bytes:
    """A presentation whose order is not that of its files; the first slide has notes."""
    return zipped(
        {
            "ppt/presentation.xml": f'<p:presentation {A}><p:sldIdLst><p:sldId id="256" r:id="rId9"/>'
            '<p:sldId id="257" r:id="rId2"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": relations(
                ("rId2", "slide", "slides/slide1.xml"), ("rId9", "slide", "slides/slide2.xml")
            ),
            "ppt/slides/slide1.xml": second,
            "ppt/slides/slide2.xml": first,
            "ppt/slides/_rels/slide2.xml.rels": relations(
                ("rId1", "notesSlide", "../notesSlides/notesSlide1.xml")
            ),
            "ppt/notesSlides/notesSlide1.xml": slide("Smile here"),
        }
    )


def xlsx(rows: str = "", **parts: str | bytes) -> bytes:
    rows = rows or (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>Name</t></is></c><c r="B1"><v>3</v></c></row>'
        '<row r="2"><c r="A2" t="b"><v>1</v></c><c r="B2"><v>2.5</v></c></row>'
    )
    entries: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("rId1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f"<workbook {S}><sheets>{WORKSHEET}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(("rId1", "worksheet", "worksheets/sheet1.xml")),
        "xl/worksheets/sheet1.xml": f"<worksheet {S}><sheetData>{rows}</sheetData></worksheet>",
    }
    return zipped(entries | {_entry(name): content for name, content in parts.items()})


def opendocument(kind: str, body: str, prolog: str = "", **parts: str | bytes) -> bytes:
    """`kind`: text, spreadsheet or presentation."""
    media_type = f"application/vnd.oasis.opendocument.{kind}"
    entries: dict[str, str | bytes] = {
        "mimetype": media_type,
        "META-INF/manifest.xml": f'<manifest><file-entry media-type="{media_type}"/></manifest>',
        "content.xml": f"{prolog}<office:document-content {ODF}><office:body><office:{kind}>{body}"
        f"</office:{kind}></office:body></office:document-content>",
    }
    return zipped(entries | {_entry(name): content for name, content in parts.items()})


ODS_TABLE = (
    '<table:table table:name="Sums"><table:table-row>'
    '<table:table-cell office:value-type="string"><text:p>Name</text:p></table:table-cell>'
    '<table:table-cell office:value-type="float" office:value="3"><text:p>3</text:p></table:table-cell>'
    "</table:table-row></table:table>"
)


def epub(*chapters: str, encryption: str = "") -> bytes:
    names = [f"c{number}.xhtml" for number, _ in enumerate(chapters)]
    items = "".join(f'<item id="{name}" href="{name}"/>' for name in names)
    order = "".join(f'<itemref idref="{name}"/>' for name in names)
    entries = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfile full-path="OEBPS/book.opf"/></container>',
        "OEBPS/book.opf": f"<package><manifest>{items}</manifest><spine>{order}</spine></package>",
    }
    if encryption:
        entries["META-INF/encryption.xml"] = encryption
    return zipped(entries | {f"OEBPS/{name}": text for name, text in zip(names, chapters, strict=True)})


def picture(width: int = 40, height: int = 30, encoder: str = "PNG", mode: str = "RGB", **options) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), "red" if mode == "RGB" else 0).save(out, encoder, **options)
    return out.getvalue()


def text_page(text: str) -> bytes:
    return f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET".encode()


# What a scanner makes: one picture over the whole page, and nothing that is text.
SCANNED_PAGE = b"q 500 0 0 700 50 50 cm /Im1 Do Q"


_SCAN = (
    b"<< /Type /XObject /Subtype /Image /Width 2 /Height 2 /ColorSpace /DeviceGray "
    b"/BitsPerComponent 8 /Length 4 >>\nstream\n\x00\xff\xff\x00\nendstream"
)


def pdf(
    pages: Iterable[bytes] = (text_page("Words of a PDF"),),
    *,
    size: str = "[0 0 600 800]",
    catalog: str = "",
    trailer: str = "",
    filters: str = "",
) -> bytes:
    """`pages`: the content streams; `catalog` and `trailer`: further entries of these dictionaries."""
    contents = list(pages)
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(contents)))
    objects: list[bytes] = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        _SCAN,
    ]
    for number, content in enumerate(contents):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {size} /Contents {6 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> /XObject << /Im1 4 0 R >> >> >>".encode()
        )
        head = f"<< /Length {len(content)} {filters} >>\nstream\n".encode()
        objects.append(head + content + b"\nendstream")
    return _assembled(objects, trailer)


def _assembled(objects: list[bytes], trailer: str) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + content + b"\nendobj\n")
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write(b"".join(f"{place:010} 00000 n \n".encode() for place in places))
    size = len(objects) + 1
    out.write(f"trailer << /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


EMAIL = b"""From: Ada <ada@example.org>
To: Charles <charles@example.org>
Subject: =?utf-8?q?The_M=C3=BChle?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: multipart/alternative; boundary="c"

--c
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe
--c
Content-Type: text/html; charset=utf-8

<p>unused</p>
--c--
--b
Content-Type: application/pdf; name="plan.pdf"
Content-Disposition: attachment; filename="plan.pdf"
Content-Transfer-Encoding: base64

JVBERi0=
--b--
"""
