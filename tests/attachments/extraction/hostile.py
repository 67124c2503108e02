"""What a hostile file is for a test: its bytes, and what must become of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HostileFile:
    """`refused`: the code of the refusal. Without it the file is read, or refused for any reason.

    `note`, `text`: parts of what people and the model get if it is read.
    """

    label: str
    content: bytes
    name: str = "file"
    refused: str = ""
    note: str = ""
    text: str = ""
    limits: dict[str, float] = field(default_factory=dict)
