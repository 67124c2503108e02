"""Pages and their fragments.

Each view parses the request, checks access, calls one operation and renders HTML.
"""
