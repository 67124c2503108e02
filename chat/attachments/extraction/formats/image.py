"""Pictures: decoded within bounds, and encoded again. Nothing else of the file is kept."""

from __future__ import annotations

import io
import warnings
from typing import Literal

from PIL import Image, ImageOps

from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.types import Extracted, ExtractedImage, ExtractionRefused

_DECODERS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP"}
_JPEG_QUALITY = 85
# Sharp edges, such as of text on a screen, need more than a photo.
_SHARP_QUALITY = 92
# A picture without loss is kept so up to this size; larger ones take longer to send than they are worth.
_PNG_MAX_PIXELS = 1_500_000
_PNG_MAX_BYTES = 2 * 1024 * 1024
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def read(source: SourceFile, media_type: str) -> Extracted:
    """Return a picture, encoded again. Raises ExtractionRefused."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        with Image.open(source.file, formats=(_DECODERS[media_type],)) as picture:
            encoded = _encode(source, picture)
            if source.keeps_stored:
                encoded = _as_stored(source, encoded)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(source) from None
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, ArithmeticError) as exc:
        # Whatever the decoders raise at broken data.
        if isinstance(exc, MemoryError):
            raise
        raise ExtractionRefused("damaged", "This picture is damaged or incomplete.") from None
    return Extracted("image", media_type, notes=source.notes, images=(encoded,))


def _too_large(source: SourceFile) -> ExtractionRefused:
    most = source.limits.pixels_max // 1_000_000
    return ExtractionRefused(
        "too_large", f"This picture has too many pixels. Pictures may have up to {most} megapixels."
    )


def _encode(source: SourceFile, picture: Image.Image) -> ExtractedImage:
    width, height = picture.size
    if width * height > source.limits.pixels_max:
        raise _too_large(source)
    if getattr(picture, "is_animated", False):
        source.note("Of the animation, only the first picture is used.")
    side = source.limits.image_side_max
    is_photo = picture.format == "JPEG"
    picture.draft(None, (side, side))
    picture.load()
    upright: Image.Image = picture
    if max(picture.size) > side:
        source.note(f"The picture was made smaller, from {width} × {height} pixels.")
        upright = _plain(picture)
        upright.thumbnail((side, side), reducing_gap=2.0)
    turned = ImageOps.exif_transpose(_plain(upright) if upright is picture else upright)
    return encode(turned, is_sharp=not is_photo)


def _as_stored(source: SourceFile, encoded: ExtractedImage) -> ExtractedImage:
    """Return the file as it is if `encode` can have made it: a JPEG loses some each time."""
    source.file.seek(0)
    data = source.file.read()
    is_ours = encoded.media_type == "image/jpeg" and is_plain_jpeg(data)
    return ExtractedImage(data, "image/jpeg", encoded.width, encoded.height) if is_ours else encoded


# Of a JPEG: the header, tables, the frame, and the scan; nothing in which words or other files could be.
_JPEG_SEGMENTS = frozenset({0xE0, 0xDB, 0xC0, 0xC4, 0xDA})
_JFIF_HEADER_BYTES = 16


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether a JPEG has just what shows it: no metadata, and nothing after its end."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        kind, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind not in _JPEG_SEGMENTS or (kind == 0xE0 and size != _JFIF_HEADER_BYTES):
            return False
        at += 2 + size
        if kind == 0xDA:
            return data.find(b"\xff\xd9", at) == len(data) - 2
    return False


def _plain(picture: Image.Image) -> Image.Image:
    """Return a picture as RGB, RGBA or grey, eight bits each."""
    if picture.mode in _DEEP_MODES:
        scale = 255 / 65535 if picture.mode != "F" else 1
        return picture.convert("I").point(lambda value: value * scale).convert("L")
    has_alpha = "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info
    if has_alpha:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def encode(picture: Image.Image, *, is_sharp: bool) -> ExtractedImage:
    """Return a picture as JPEG, or as PNG where that matters: if transparent, or small and sharp."""
    picture.info = {}
    pixels = picture.width * picture.height
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    if picture.mode == "RGBA" or (is_sharp and pixels <= _PNG_MAX_PIXELS):
        data = _saved(picture, "PNG", compress_level=4)
        if len(data) <= _PNG_MAX_BYTES or picture.mode == "RGBA":
            return ExtractedImage(data, "image/png", picture.width, picture.height)
    quality, subsampling = (_SHARP_QUALITY, 0) if is_sharp else (_JPEG_QUALITY, 2)
    data = _saved(picture, "JPEG", quality=quality, subsampling=subsampling)
    return ExtractedImage(data, "image/jpeg", picture.width, picture.height)


def _saved(picture: Image.Image, encoder: Literal["JPEG", "PNG"], **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, encoder, **options)
    return out.getvalue()
