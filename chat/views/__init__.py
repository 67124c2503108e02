"""Pages and their fragments: parse, check access, call one verb, answer with HTML."""
