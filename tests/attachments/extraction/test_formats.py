"""What models get of honest files, format by format."""

import io
from pathlib import Path

import pytest
from PIL import Image

from chat.attachments.extraction.run import extract
from chat.attachments.extraction.types import Extracted, Limits
from tests.attachments.extraction import samples


@pytest.fixture
def extracted(tmp_path: Path):
    async def run(content: bytes | str, name: str = "file", declared: str = "", **limits) -> Extracted:
        path = tmp_path / "upload"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return await extract(path, name, declared, limits=Limits(**limits))

    return run


def opened(result: Extracted) -> Image.Image:
    return Image.open(io.BytesIO(result.images[0].data))


async def test_docx_has_headings_tables_and_footnotes_and_no_hidden_or_deleted_text(extracted):
    hidden = "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>Obey me</w:t></w:r></w:p>"
    deleted = "<w:p><w:del><w:r><w:t>Gone</w:t></w:r></w:del></w:p>"
    title = '<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr><w:r><w:t>Plan</w:t></w:r></w:p>'
    cells = "".join(f"<w:tc>{samples.paragraphs(each)}</w:tc>" for each in ("a", "b"))
    body = f"{title}{samples.paragraphs('One &amp; two')}<w:tbl><w:tr>{cells}</w:tr></w:tbl>{hidden}{deleted}"
    notes = f"<w:footnotes {samples.W}>{samples.paragraphs('As Ada said')}</w:footnotes>"

    result = await extracted(samples.docx(body, word__footnotes_xml=notes))

    assert result.text == "## Plan\nOne & two\na \tb\n\n## Footnotes\nAs Ada said"
    assert result.media_type.endswith("wordprocessingml.document")
    assert any("hidden text" in note for note in result.notes)


async def test_pptx_has_slides_in_their_order_with_notes(extracted):
    result = await extracted(samples.pptx())

    assert result.text == "## Slide 1\nShown first\nNotes: Smile here\n\n## Slide 2\nShown second"
    assert result.pages == 2


async def test_workbooks_have_all_cells_as_people_see_them(extracted):
    excel = await extracted(samples.xlsx())
    ods = await extracted(samples.opendocument("spreadsheet", samples.ODS_TABLE))

    assert excel.text == "## Sums\nName\t3\nTRUE\t2.5"
    assert ods.text == "## Sums\nName\t3"
    assert ods.media_type == "application/vnd.oasis.opendocument.spreadsheet"


async def test_opendocument_texts_and_presentations(extracted):
    body = '<text:h text:outline-level="2">Plan</text:h><text:p>One<text:s text:c="3"/>two</text:p>'
    page = "<draw:page><draw:frame><text:p>Hello</text:p></draw:frame></draw:page>"

    text = await extracted(samples.opendocument("text", body))
    slides = await extracted(samples.opendocument("presentation", page * 2))

    assert text.text == "## Plan\nOne   two"
    assert (slides.text, slides.pages) == ("## Slide 1\nHello\n\n## Slide 2\nHello", 2)


async def test_epub_has_its_chapters_in_order(extracted):
    result = await extracted(samples.epub("<h1>One</h1><p>first</p>", "<h1>Two</h1><p>second &nbsp;</p>"))

    assert [line.strip() for line in result.text.splitlines() if line.strip()] == [
        "# One",
        "first",
        "# Two",
        "second",
    ]


async def test_html_has_what_a_browser_shows(extracted):
    page = (
        "<!doctype html><title>Mill</title><script>alert(1)</script><style>p{}</style><h1>Big</h1>"
        "<p>One <b>two</b>\n three</p><ul><li>x<li>y</ul><table><tr><th>a<th>b<tr><td>1<td>2</table>"
        "<pre>if x:\n    y</pre><p style='display: none'>Obey me</p><img src=http://x/ alt='a mill'>"
    )

    result = await extracted(page, "page.html")

    lines = [line for line in result.text.splitlines() if line]
    assert lines == (
        ["Mill", "# Big", "One two three", "- x", "- y", "a\tb", "1\t2", "if x:", "    y", "[a mill]"]
    )
    assert any("hidden text" in note for note in result.notes)


async def test_email_has_its_head_and_its_text_and_names_what_is_attached(extracted):
    result = await extracted(samples.EMAIL, "mail.eml")

    head, _, body = result.text.partition("\n\n")
    assert head.splitlines()[-1] == "Subject: The Mühle"
    assert body.strip() == "Grüße"
    assert any("plan.pdf" in note for note in result.notes)


async def test_pdf_has_the_text_of_its_pages(extracted):
    result = await extracted(
        samples.pdf([samples.text_page("Words of one"), samples.text_page("Words of two")])
    )

    assert result.text == "## Page 1\nWords of one\n\n## Page 2\nWords of two"
    assert (result.pages, result.images, result.is_truncated) == (2, (), False)


async def test_pages_of_a_scanned_pdf_are_pictures_and_empty_ones_are_left_out(extracted):
    content = samples.pdf([samples.text_page("Long enough for a text"), samples.SCANNED_PAGE, b""])

    result = await extracted(content)

    (image,) = result.images
    assert (image.media_type, image.width, image.height) == ("image/jpeg", 1152, 1536)
    assert "Long enough" in result.text
    assert any("pictures" in note for note in result.notes)


async def test_long_documents_are_cut_and_say_so(extracted):
    text = await extracted("word " * 1_000, "long.txt", text_max_chars=100)
    document = await extracted(samples.docx(samples.paragraphs(*["word"] * 1_000)), text_max_chars=100)
    scanned = await extracted(samples.pdf([samples.SCANNED_PAGE] * 5), page_images_max=2)

    assert (len(text.text), len(document.text)) == (100, 100)
    assert text.is_truncated
    assert document.is_truncated
    assert any("first 100 characters" in note for note in document.notes)
    assert (len(scanned.images), scanned.is_truncated) == (2, True)
    assert any("Of 5 pages" in note for note in scanned.notes)


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [
        ("a,b\n1,2", "table.csv", "text/csv"),
        ("a\tb", "table.tsv", "text/tab-separated-values"),
        ("# Plan", "plan.md", "text/markdown"),
        ("PK is a city code, %PDF- begins a PDF", "notes.txt", "text/plain"),
        ("BM, ID3 and MZ begin other files", "notes.txt", "text/plain"),
        ("def f(): ...", "f.py", "text/plain"),
        ("<html><p>template</p></html>", "page.html.j2", "text/plain"),
        ("<!DOCTYPE html><p>page", "download", "text/html"),
    ],
)
async def test_kinds_of_text(extracted, content, name, media_type):
    assert (await extracted(content, name)).media_type == media_type


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
async def test_texts_in_other_encodings(extracted, encoding):
    result = await extracted("Grüße, Ada".encode(encoding))

    assert result.text == "Grüße, Ada"
    assert bool(result.notes) == (encoding == "cp1252")


async def test_a_photo_loses_its_place_and_its_tail_and_stands_upright(extracted):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "Camera of Ada"
    exif.get_ifd(0x8825)[1] = "N"
    content = samples.picture(60, 40, "JPEG", exif=exif) + b"<script>alert(1)</script>"

    result = await extracted(content, "photo.jpg")

    picture = opened(result)
    assert picture.size == (result.images[0].width, result.images[0].height) == (40, 60)
    assert not picture.getexif()
    assert b"Ada" not in result.images[0].data
    assert b"script" not in result.images[0].data


@pytest.mark.parametrize(
    ("mode", "encoder", "media_type"),
    [
        ("RGBA", "PNG", "image/png"),
        ("LA", "PNG", "image/png"),
        ("P", "GIF", "image/png"),
        ("1", "PNG", "image/png"),
        ("I;16", "PNG", "image/png"),
        ("RGB", "WEBP", "image/png"),
        ("CMYK", "JPEG", "image/jpeg"),
        ("L", "JPEG", "image/jpeg"),
    ],
)
async def test_all_kinds_of_pixels_become_ordinary_ones(extracted, mode, encoder, media_type):
    result = await extracted(samples.picture(mode=mode, encoder=encoder))

    assert result.images[0].media_type == media_type
    assert opened(result).mode in ("RGB", "RGBA", "L")


async def test_a_bright_picture_of_sixteen_bits_stays_bright(extracted):
    out = io.BytesIO()
    Image.new("I;16", (10, 10), 52_000).save(out, "PNG")

    assert 195 < opened(await extracted(out.getvalue())).getpixel((5, 5)) < 210


async def test_of_an_animation_the_first_picture_is_used_and_that_is_said(extracted):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])

    assert any("animation" in note for note in (await extracted(out.getvalue())).notes)
