"""The examples of docs/clients.md, each with the client that it shows."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_MARKED = r"<!-- client: (\S+) -->\n```{language}\n(.*?)```"


def examples(language):
    """Return the marked examples in a language: client → code."""
    page = (DOCS / "clients.md").read_text()
    return dict(re.findall(_MARKED.format(language=language), page, re.DOTALL))


def code_of(page, language="python"):
    """Return all code of a page in a language, as one program."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))
