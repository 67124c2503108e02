"""Static files: hashed names, compressed copies, and ES modules that import one another."""

from __future__ import annotations

from typing import Any

import brotli  # type: ignore[import-untyped]  # it has no type hints
from servestatic.compress import Compressor
from servestatic.storage import CompressedManifestStaticFilesStorage

# A library that is loaded on demand. The best compression of Mermaid takes
# eight seconds, this one less than one.
LARGE_BYTES = 1_000_000
LARGE_QUALITY = 5


class QuickCompressor(Compressor):
    """Compresses large files less, so that the first start of a server does not wait for them."""

    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        """Return the compressed data."""
        if len(data) < LARGE_BYTES:
            return bytes(Compressor.compress_brotli(data))
        compressed: bytes = brotli.compress(data, quality=LARGE_QUALITY)
        return compressed


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):
    """Also rewrites the imports of ES modules, so that a changed module changes its importers' names."""

    support_js_module_import_aggregation = True

    def create_compressor(self, **kwargs: Any) -> Compressor:
        return QuickCompressor(**kwargs)
