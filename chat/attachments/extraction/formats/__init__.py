"""One module per family of formats, each with `read(source, media_type) -> Extracted`."""
