"""Pictures, pages, e-mails and texts that want to do harm, and files that are not what they say."""

import gzip
import random
import struct
import zlib

from tests.attachments.extraction import samples
from tests.attachments.extraction.hostile import HostileFile

WORDS = "Harmless words"
SCRIPT = b"<script>alert(1)</script>"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, rows: bytes = b"") -> bytes:
    """Return a picture of bits, with more chunks in front of its pixels."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + pixels + png_chunk(b"IEND", b"")


def pictures(address: str) -> list[HostileFile]:
    ordinary = samples.picture()
    jpeg = samples.picture(encoder="JPEG")
    frame = samples.picture(encoder="GIF", mode="P")
    sof = jpeg.find(b"\xff\xc0") + 5
    packed = zlib.compress(bytes(10_000_000), 9)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="{address}"/></svg>'
    entity = f'<!DOCTYPE svg [<!ENTITY e SYSTEM "{address}">]><svg>&e;</svg>'
    return [
        HostileFile("50,000 × 50,000 pixels", png(50_000, 50_000), refused="too_large"),
        HostileFile(
            "a GIF of 65,535 × 65,535 pixels", frame[:6] + b"\xff" * 4 + frame[10:], refused="too_large"
        ),
        HostileFile(
            "a JPEG of 65,000 × 65,000 pixels",
            jpeg[:sof] + b"\xfd\xe8" * 2 + jpeg[sof + 4 :],
            refused="too_large",
        ),
        HostileFile("a WebP of 16,384 × 16,384 pixels", _webp(16_384), refused="too_large"),
        HostileFile(
            "two million lines of one pixel", png(1, 2_000_000, rows=bytes(4_000_000)), note="made smaller"
        ),
        HostileFile("pixels that are missing", png(5_000, 5_000), refused="damaged"),
        HostileFile("truncated PNG", ordinary[:60], refused="damaged"),
        HostileFile("truncated JPEG", jpeg[:-20], refused="damaged"),
        HostileFile("a wrong sum", ordinary.replace(b"IDAT", b"IDAX"), refused="damaged"),
        HostileFile(
            "a text that unpacks without end",
            png(8, 8, png_chunk(b"zTXt", b"k\x00\x00" + packed), rows=bytes(16)),
        ),
        HostileFile(
            "a profile that unpacks without end",
            png(8, 8, png_chunk(b"iCCP", b"k\x00\x00" + packed), rows=bytes(16)),
        ),
        HostileFile("a script behind a picture", ordinary + SCRIPT, "a.html", note=".html"),
        HostileFile(
            "an archive behind a picture", frame + samples.zipped({"a": "b"}), "a.docx", note=".docx"
        ),
        HostileFile(
            "a program in a comment",
            samples.picture(encoder="JPEG", comment=b"<?php system('id') ?>"),
            "a.php",
        ),
        HostileFile("a picture that is a script, too", b"GIF89a=1;alert(1)//" + bytes(30)),
        HostileFile("ten thousand pictures", _frames(10_000), note="animation"),
        HostileFile("SVG with a script", svg.encode(), "a.svg", note="SVG"),
        HostileFile("SVG named as a picture", svg.encode(), "a.png", note="SVG"),
        HostileFile("SVG with an external entity", entity.encode(), "a.svg", note="SVG", text="&e;"),
        HostileFile(
            "a web page named as a picture", b"<!doctype html>" + SCRIPT + b"<p>x", "a.jpg", note=".jpg"
        ),
        HostileFile("a HEIC picture", b"\x00\x00\x00\x18ftypheic" + bytes(40), refused="unsupported"),
        HostileFile("a TIFF picture", b"II*\x00" + bytes(40), refused="unsupported"),
    ]


def _webp(side: int) -> bytes:
    size = (side - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size * 2
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _frames(count: int) -> bytes:
    """Return an animation that repeats one frame, each with a control block."""
    frame = samples.picture(20, 20, "GIF", "P")
    start = frame.find(b"\x2c", 13 + 3 * 2)
    head, image = frame[:start], frame[start:-1]
    return head + (b"\x21\xf9\x04\x00\x01\x00\x00\x00" + image) * count + b"\x3b"


def texts(address: str) -> list[HostileFile]:
    remote = "".join(
        f"<{tag}='{address}'></{tag.partition(' ')[0]}>"
        for tag in ("img src", "script src", "iframe src", "object data", "video src", "embed src")
    )
    links = f"<link rel=stylesheet href='{address}'><meta http-equiv=refresh content='0;url={address}'>"
    page = f"<!doctype html><base href='{address}'>{links}{remote}<p>{WORDS}".encode()
    nested = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(3_000)
    )
    external = (
        f'From: a\nContent-Type: message/external-body; access-type=URL; URL="{address}"\n\n'
        f"Content-Type: text/plain\n\n{WORDS}"
    )
    charset = f"From: a\nContent-Type: text/plain; charset=no-such\n\n{WORDS}".encode()
    noise = random.Random(1).randbytes(5_000)
    return [
        HostileFile("page of things elsewhere", page, "a.html", text=WORDS),
        HostileFile("nested without end", b"<div>" * 20_000 + b"Harmless words", "a.html", text=WORDS),
        HostileFile(
            "open tags without end", b"<a><b><i><table>" * 3_000 + b"x", "a.html", limits={"cpu_seconds": 3}
        ),
        HostileFile("attributes without end", b"<p " + b"a=1 b=2 " * 100_000 + b">Harmless words", "a.html"),
        HostileFile("hidden orders", b"<p style='display:none'>Obey</p><p>x", "a.html", note="hidden"),
        HostileFile("e-mail in e-mail without end", b"From: a\n" + nested, "a.eml"),
        HostileFile("e-mail of a body elsewhere", external.encode(), "a.eml"),
        HostileFile("e-mail in no known writing", charset, "a.eml", text=WORDS),
        HostileFile(
            "e-mail with a head of 5 MB",
            b"From: a\nSubject: " + b"a " * 2_500_000 + b"\n\nx",
            "a.eml",
            note="too long",
        ),
        HostileFile("zeros", bytes(5_000), "a.txt", refused="unsupported"),
        HostileFile("zeros in a text", b"Hello" + b"\x00" * 3 + b"world", "a.txt", refused="unsupported"),
        HostileFile("noise", noise, "a.txt", refused="unsupported"),
        HostileFile("text that runs backwards", "Harmless \u202ewords".encode(), "a.txt", note="invisible"),
        HostileFile("text that only models see", "x\U000e0041\U000e0042".encode(), "a.txt", note="invisible"),
        HostileFile("half a character", b"\xff\xfeH\x00i\x00!", "a.txt", text="Hi"),
        HostileFile("brackets without end", b"[" * 200_000, "a.json", text="[[["),
        HostileFile("entities without end", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "a.xml", text="&a;"),
        HostileFile("formula", b"=cmd|' /C calc'!A0,1", "a.csv", text="=cmd"),
        HostileFile("nothing", b"", "a.pdf", refused="empty"),
    ]


def disguised(address: str) -> list[HostileFile]:
    starts = {
        "a program of Windows": (b"MZ\x90\x00", "photo.jpg"),
        "a program of Linux": (b"\x7fELF\x02\x01", "notes.txt"),
        "a program of Java": (b"\xca\xfe\xba\xbe\x00", "a.pdf"),
        "a RAR archive": (b"Rar!\x1a\x07", "a.zip"),
        "a 7z archive": (b"7z\xbc\xaf\x27\x1c", "a.docx"),
        "a database": (b"SQLite format 3\x00", "a.csv"),
        "a film": (b"\x00\x00\x00\x18ftypmp42", "a.png"),
        "a sound": (b"ID3\x03\x00", "a.txt"),
        "an RTF document with objects": (b"{\\rtf1{\\object\\objdata 01}}", "a.doc"),
    }
    named = [
        "../../etc/passwd",
        "photo.jpg\x00.exe",
        "photo\u202egpj.exe",
        "C:\\Windows\\con.txt",
        "a" * 5_000 + ".txt",
        "'; rm -rf ~; '.txt",
        "\ud800.txt",
    ]
    words = WORDS.encode()
    return [
        *(
            HostileFile(label, start + bytes(100), name, refused="unsupported")
            for label, (start, name) in starts.items()
        ),
        HostileFile("a tar archive", bytes(257) + b"ustar" + bytes(300), "a.txt", refused="unsupported"),
        HostileFile("a gzip bomb", gzip.compress(bytes(10_000_000)), "a.txt", refused="unsupported"),
        HostileFile("a PDF named as a text", samples.pdf(), "a.txt", note=".txt"),
        *(HostileFile(f"named {name[:20]!r}", words, name, text=WORDS) for name in named),
    ]
