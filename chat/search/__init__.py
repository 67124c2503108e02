"""Full-text search over titles and messages; `tokens.py` says what is a word, `index.py` keeps the index."""

from chat.search.find import HITS_MAX, Hits, find, snippets
from chat.search.index import Document, remove, store
from chat.search.marks import cut_at, marked, spans
from chat.search.query import Term, terms_of
from chat.search.tokens import fold

__all__ = [
    "HITS_MAX",
    "Document",
    "Hits",
    "Term",
    "cut_at",
    "find",
    "fold",
    "marked",
    "remove",
    "snippets",
    "spans",
    "store",
    "terms_of",
]
