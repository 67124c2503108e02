"""Pages and their fragments: each view parses, checks access, calls one operation and renders HTML."""
