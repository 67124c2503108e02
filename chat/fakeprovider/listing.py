"""The table of behaviours as text: for `--list` and for docs/rehearse.md."""

from chat.fakeprovider.behaviours import SECTIONS


def as_text() -> str:
    """Return the table for a terminal."""
    width = max(
        len(word.usage) for words in SECTIONS.values() for word in words.values() if len(word.usage) < 30
    )
    lines: list[str] = []
    for title, words in SECTIONS.items():
        lines += ["", title]
        lines += [f"  {word.usage:<{width}}  {word.description}" for word in words.values()]
    return "\n".join(lines).strip() + "\n"


def as_markdown() -> str:
    """Return the table for the documentation."""
    lines: list[str] = []
    for title, words in SECTIONS.items():
        lines += [f"### {title}", "", "| word | what it does |", "| --- | --- |"]
        lines += [
            f"| `{word.usage.replace('|', chr(92) + '|')}` | {word.description} |" for word in words.values()
        ]
        lines.append("")
    return "\n".join(lines)
