"""What a check of a model found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class FindingState(StrEnum):
    OK = "ok"
    # The endpoint does not accept it; answers are possible without it.
    REFUSED = "refused"
    # Answers are not possible.
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report. `address`: a base URL that belongs to the text, for staff who may see it."""

    subject: str
    state: FindingState
    text: str
    address: str = ""


@dataclass(slots=True)
class CheckReport:
    """`code`: of the error that makes the model unusable; empty if it can answer.

    `refused`: by the name of a parameter, what the endpoint said; None if it could not be found out.
    `context_tokens`: None if the endpoint does not say. `written`: what was changed in the model's row.
    """

    model: str
    findings: list[Finding] = field(default_factory=list)
    code: str = ""
    refused: dict[str, str] | None = None
    context_tokens: int | None = None
    written: list[str] = field(default_factory=list)

    def add(self, subject: str, state: FindingState, text: str, address: str = "") -> None:
        self.findings.append(Finding(subject, state, text, address))

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "can_answer": not self.code, "refused": self.refused or {}}

    def as_text(self) -> str:
        """Return the report as an aligned table."""
        subjects = max(len(each.subject) for each in self.findings)
        states = max(len(each.state) for each in self.findings)
        lines = [
            f"{each.subject:<{subjects}}  {each.state:<{states}}  {each.text} {each.address}".rstrip()
            for each in self.findings
        ]
        return "\n".join([*lines, *(f"Saved: {change}" for change in self.written)])
