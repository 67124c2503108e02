"""Tasks that tests run in a real worker."""

from pathlib import Path

from django.tasks import task


@task
def note(path: str, word: str) -> None:
    """Add a word to a file."""
    with Path(path).open("a") as file:
        file.write(f"{word}\n")
