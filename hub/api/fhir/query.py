"""Search parameters: prefixes, tokens, references, dates, paging; what can't be used is refused by name."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct, msgpack
from starlette.requests import Request

from hub.api.fhir.errors import FhirError, wrong
from hub.fhir.times import span
from hub.fhir.validate import Issue

T = TypeVar("T")

MOST: Final = 1_000
"""Resources on one page at most."""
DEFAULT_COUNT: Final = 50
CONTROLS: Final = frozenset(
    {
        "_count",
        "_sort",
        "_include",
        "_summary",
        "_format",
        "_pretty",
        "_cursor",
        "_total",
        "_id",
        "_lastUpdated",
    }
)
_PREFIXED: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_SPLIT: Final = re.compile(r"(?<!\\),")
_KEPT: Final = 512
"""Queries that are remembered, each of at most so many bytes."""


class Prefixed(Struct, frozen=True):
    """A date or number with its prefix."""

    prefix: str
    text: str


class TokenText(Struct, frozen=True):
    """A token: system and code; None where either was not given."""

    system: str | None
    code: str | None

    def takes(self, system: str | None, code: str | None) -> bool:
        """Tell whether a coding or identifier is meant."""
        return (self.system is None or self.system == (system or "")) and (
            self.code is None or self.code == code
        )


class Query:
    """The parameters of one search."""

    def __init__(self, items: Iterable[tuple[str, str]], *, lenient: bool = False) -> None:
        given = list(items)
        self.format = dict(given).get("_format")
        """What the answer is to be written as; of several the last."""
        self.items = [(name, value) for name, value in given if name not in ("_format", "_pretty")]
        self._values: dict[str, list[str]] = {}
        for name, value in self.items:
            self._values.setdefault(name, []).append(value)
        self._lenient = lenient
        self._found: dict[Callable[[Query], object], object] = {}

    def once(self, find: Callable[["Query"], T]) -> T:
        """Return what a function finds in this query: it is called once, and must depend on nothing else."""
        if find not in self._found:
            self._found[find] = find(self)
        return cast("T", self._found[find])

    def known(self, names: Iterable[str]) -> None:
        """Refuse every parameter that isn't one of these; where the client is lenient it is left out."""
        allowed = {*names, *CONTROLS}
        unknown = [name for name in self._values if name.partition(":")[0] not in allowed]
        odd = [name for name in self._values if ":" in name and name.partition(":")[0] in allowed]
        if self._lenient:
            for name in unknown:
                del self._values[name]
            self.items = [item for item in self.items if item[0] not in unknown]
        elif unknown:
            raise FhirError(
                400,
                [
                    Issue("not-supported", f"there is no such search parameter; use {_list(allowed)}", name)
                    for name in unknown
                ],
            )
        if odd:
            raise FhirError(
                400, [Issue("not-supported", "modifiers are not supported here", name) for name in odd]
            )

    def one(self, name: str) -> str | None:
        """Return a parameter that may be given once."""
        values = self._values.get(name, [])
        if len(values) > 1:
            raise wrong("invalid", "give it once", name)
        return values[0] if values else None

    def every(self, name: str) -> list[list[str]]:
        """Return a parameter's values: all of the outer list must hold, one of each inner."""
        found = [
            [part.replace("\\,", ",") for part in _SPLIT.split(text)] for text in self._values.get(name, [])
        ]
        if any(not part.strip() for parts in found for part in parts):
            raise wrong("value", "expected a value", name)
        return found

    def tokens(self, name: str) -> list[list[TokenText]]:
        """Return token parameters."""
        return [[_token(text) for text in texts] for texts in self.every(name)]

    def references(self, name: str, *kinds: str) -> list[list[tuple[str, str]]]:
        """Return reference parameters as kind and id; an id alone is of the first kind."""
        return [[_reference(text, name, kinds) for text in texts] for texts in self.every(name)]

    def dates(self, name: str) -> list[Prefixed]:
        """Return date parameters."""
        found = []
        for texts in self.every(name):
            if len(texts) > 1:
                raise wrong(
                    "not-supported", "alternatives of a date are not supported; repeat it for a range", name
                )
            one = prefixed(texts[0])
            try:
                span(one.text)
            except ValueError as error:
                raise wrong("value", str(error), name) from None
            found.append(one)
        return found

    def within(self, name: str) -> tuple[int, int]:
        """Return the span of instants [start, end) that date parameters allow; `without` has holes in it."""
        start_ns, end_ns = 0, 2**62
        for one in self.dates(name):
            first, after = span(one.text)
            low, high = {
                "ne": (start_ns, end_ns),
                "eq": (first, after),
                "ge": (first, end_ns),
                "gt": (after, end_ns),
                "sa": (after, end_ns),
                "le": (start_ns, after),
                "lt": (start_ns, first),
                "eb": (start_ns, first),
                "ap": (first - (after - first), after + (after - first)),
            }[one.prefix]
            start_ns, end_ns = max(start_ns, low), min(end_ns, high)
        return start_ns, end_ns

    def without(self, name: str) -> list[tuple[int, int]]:
        """Return the spans of instants [start, end) that date parameters exclude."""
        return [span(one.text) for one in self.dates(name) if one.prefix == "ne"]

    def within_one(self, name: str) -> tuple[int, int]:
        """Return the span of one date, all of time where it is not given; a prefix means nothing here."""
        text = self.one(name)
        if text is None:
            return 0, 2**62
        try:
            return span(text)
        except ValueError as error:
            raise wrong("value", str(error), name) from None

    @property
    def count(self) -> int:
        """Return how many resources a page has; 0 asks for the number alone."""
        text = self.one("_count")
        if text is None:
            return DEFAULT_COUNT
        if not text.isdecimal() or not text.isascii() or len(text) > 9:
            raise wrong("value", f"expected a number from 0 to {MOST}", "_count")
        return min(int(text), MOST)

    @property
    def counts_only(self) -> bool:
        """Tell whether the number alone is asked for."""
        summary = self.one("_summary")
        if summary not in (None, "count", "false"):
            raise wrong("not-supported", "expected count or false", "_summary")
        return summary == "count" or self.count == 0


def prefixed(text: str) -> Prefixed:
    """Return a value without its prefix; eq where there is none."""
    match = _PREFIXED.fullmatch(text)
    prefix, rest = match.groups() if match else (None, text)
    return Prefixed(prefix or "eq", rest)


def of_request(request: Request, form: Iterable[tuple[str, str]] = ()) -> Query:
    """Return the query of a request, with the fields of a form where it was posted."""
    lenient = "handling=lenient" in request.headers.get("prefer", "")
    return Query([*request.query_params.multi_items(), *form], lenient=lenient)


def repeated(request: Request) -> Query:
    """Return the query of a request that is asked again and again: as `of_request`, and the same one again.

    It is remembered, in memory alone, until so many others have come, also where it is refused.
    """
    text: bytes = request.scope["query_string"]
    if len(text) > _KEPT or "prefer" in request.headers:
        return of_request(request)
    return _parsed(text)


@lru_cache(maxsize=_KEPT)
def _parsed(text: bytes) -> Query:
    return Query(parse_qsl(text.decode("latin-1"), keep_blank_values=True))


def link(base: str, path: str, query: Query, cursor: str | None = None) -> str:
    """Return the URL of a page."""
    text = query.once(_without_cursor)
    if cursor is not None:
        text += ("&" if text else "") + urlencode([("_cursor", cursor)])
    return f"{base}/{path}" + (f"?{text}" if text else "")


def _without_cursor(query: Query) -> str:
    return urlencode([item for item in query.items if item[0] != "_cursor"])


def seal(key: bytes, position: Sequence[Any]) -> str:
    """Return a position as an opaque cursor."""
    content = msgpack.encode(list(position))
    return urlsafe_b64encode(hmac.digest(key, content, hashlib.sha256)[:9] + content).rstrip(b"=").decode()


def unseal(key: bytes, cursor: str) -> list[Any]:
    """Return the position of a cursor that `seal` made; refuses any other."""
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raw = b""
    if len(raw) < 10 or not hmac.compare_digest(hmac.digest(key, raw[9:], hashlib.sha256)[:9], raw[:9]):
        raise wrong(
            "value", "this cursor is unknown: follow the links of a page, or begin the search anew", "_cursor"
        )
    found: list[Any] = msgpack.decode(raw[9:])
    return found


def matches_date(tests: Sequence[Prefixed], start_ns: int, end_ns: int) -> bool:
    """Tell whether the span [start, end) of a resource satisfies every date test."""
    for one in tests:
        first, after = span(one.text)
        holds = {
            "eq": first <= start_ns and end_ns <= after,
            "ne": not (first <= start_ns and end_ns <= after),
            "gt": end_ns > after,
            "ge": end_ns > first,
            "lt": start_ns < first,
            "le": start_ns < after,
            "sa": start_ns >= after,
            "eb": end_ns <= first,
            "ap": start_ns < after + (after - first) and end_ns > first - (after - first),
        }[one.prefix]
        if not holds:
            return False
    return True


def tokens_of(value: object) -> list[tuple[str | None, str | None]]:
    """Return the systems and codes in a code, Coding, CodeableConcept, Identifier, or list of these."""
    if isinstance(value, list):
        return [one for item in value for one in tokens_of(item)]
    if isinstance(value, Mapping):
        if "coding" in value:
            return tokens_of(value["coding"])
        return [(value.get("system"), value.get("code", value.get("value")))]
    return [] if value is None else [(None, str(value).lower() if isinstance(value, bool) else str(value))]


def _token(text: str) -> TokenText:
    system, bar, code = text.partition("|")
    if not bar:
        return TokenText(None, text)
    return TokenText(system, code or None)


def _reference(text: str, name: str, kinds: Sequence[str]) -> tuple[str, str]:
    kind, slash, found = text.rstrip("/").rpartition("/")
    if not slash:
        return kinds[0], text
    kind = kind.rpartition("/")[2]
    if kind not in kinds:
        raise wrong("value", f"expected a reference to {' or '.join(kinds)}", name)
    return kind, found


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
