"""Query and path parameters: what is allowed, and what to say where it is not."""

import re
from datetime import datetime
from typing import Annotated, Self

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from hub.api.problems import invalid
from hub.events import Scope, nanoseconds

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_EXPECTED = "expected RFC 3339 with a zone, for instance 2026-11-24T02:43:12Z (in a URL write + as %2B)"

ID = r"^[A-Za-z0-9_-]{1,64}$"
Id = Annotated[str, Path(pattern=ID)]
"""A site, ward, bed, device or patient in a path."""
AlarmId = Annotated[str, Path(pattern=r"^al-[0-9a-f]{1,32}$", examples=["al-5d1b0c2f9a7e4386"])]
QueryId = Annotated[str, Field(pattern=ID)]


def instant(text: object) -> int:
    """Return RFC 3339 text as nanoseconds since the epoch; raises ValueError that says what was expected."""
    if isinstance(text, int):
        return text
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError(_EXPECTED)
    # fromisoformat takes six digits at most; the rest is below what devices tell.
    digits = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
    try:
        time = datetime.fromisoformat(digits)
    except ValueError as error:
        raise ValueError(f"{_EXPECTED}: {error}") from error
    if not 1970 <= time.year <= 2261:
        raise ValueError("expected a time from 1970 to 2261")
    return nanoseconds(time)


Instant = Annotated[
    int,
    BeforeValidator(instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-24T02:43:12Z"]}),
]


class Query(BaseModel):
    """Query parameters of one route; one that it does not know is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)


class InScope(Query):
    """A part of the hospital."""

    site: QueryId | None = None
    ward: QueryId | None = Field(default=None, description="A ward of the site.")

    @property
    def scope(self) -> Scope:
        """Return it as the stream and the live values know it."""
        return Scope(self.site, self.ward)

    @model_validator(mode="after")
    def _ward_has_a_site(self) -> Self:
        if self.ward is not None and self.site is None:
            raise ValueError("ward needs site: wards of two sites may have one name")
        return self


class Span(Query):
    """A stretch of time, the start in it and the end not."""

    from_ns: Instant | None = Field(default=None, alias="from", description="An hour before `to` if absent.")
    to_ns: Instant | None = Field(default=None, alias="to", description="Now if absent.")

    def resolve(
        self, now_ns: int, longest_s: float = 10 * 365.25 * 86_400, default_s: float = 3600
    ) -> tuple[int, int]:
        """Return start and end in nanoseconds since the epoch."""
        end_ns = now_ns if self.to_ns is None else self.to_ns
        start_ns = end_ns - round(default_s * 1e9) if self.from_ns is None else self.from_ns
        if start_ns >= end_ns:
            raise invalid("from", "expected a time before `to` (which is now if absent)")
        if end_ns - start_ns > longest_s * 1e9:
            raise invalid("from", f"expected at most {longest_s:.0f} s before `to`")
        return start_ns, end_ns
