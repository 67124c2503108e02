"""The table of behaviours, as people read it: for `--list` and for docs/rehearse.md."""

from chat.fakeprovider.behaviours import SECTIONS


def as_text() -> str:
    """Return the table for a terminal."""
    width = max(len(row.usage) for rows in SECTIONS.values() for row in rows.values() if len(row.usage) < 30)
    lines: list[str] = []
    for title, rows in SECTIONS.items():
        lines += ["", title]
        lines += [f"  {row.usage:<{width}}  {row.says}" for row in rows.values()]
    return "\n".join(lines).strip() + "\n"


def as_markdown() -> str:
    """Return the table for the documentation."""
    lines: list[str] = []
    for title, rows in SECTIONS.items():
        lines += [f"### {title}", "", "| word | what it does |", "| --- | --- |"]
        lines += [f"| `{row.usage.replace('|', chr(92) + '|')}` | {row.says} |" for row in rows.values()]
        lines.append("")
    return "\n".join(lines)
