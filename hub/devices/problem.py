"""What is wrong with a device definition, told so that a person can mend it."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Severity = Literal["error", "warning"]


class Problem(Struct, frozen=True):
    """One fault or doubt in one definition file."""

    file: str
    line: int
    """From 1; 0 where it is about the whole file."""
    key: str
    """For instance `read[0].value[2].parameter`."""
    message: str
    """What was found and what was expected."""
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.severity}: " + (f"{self.key}: " if self.key else "") + self.message


class DefinitionErrors(ValueError):  # noqa: N818 - several at once, and named so
    """Definitions that can't be used; `problems` holds all faults of all files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)
