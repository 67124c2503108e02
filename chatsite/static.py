"""Static files: hashed names, compressed copies, and ES modules that import one another."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):
    """Also rewrites the imports of ES modules, so that a changed module changes its importers' names."""

    support_js_module_import_aggregation = True
