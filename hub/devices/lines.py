"""On which line of a TOML text each table, key and element of an array stands: tomllib doesn't say."""

import re
from bisect import bisect_right
from typing import Final

Key = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_TEXT: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN: Final = re.compile(r"[^,\]}#\n]*")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")


def lines(text: str) -> dict[Key, int]:
    """Return the line, from 1, of all that a text holds; it must be valid TOML."""
    return _Walk(text).lines


class _Walk:
    """Goes over a text once, from top to bottom."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Key, int] = {}
        self._text = text
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[Key, int] = {}
        self._table: Key = ()
        at = self._skip(0)
        while at < len(text):
            at = self._header(at) if text[at] == "[" else self._pair(at, self._table)
            at = self._skip(at)

    def _skip(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def _note(self, key: Key, at: int) -> None:
        self.lines.setdefault(key, bisect_right(self._ends, at - 1) + 1)

    def _header(self, at: int) -> int:
        is_array = self._text.startswith("[[", at)
        names, end = self._names(self._skip(at + 1 + is_array))
        table: Key = ()
        for position, name in enumerate(names):
            table = (*table, name)
            if is_array and position == len(names) - 1:
                self._counts[table] = self._counts.get(table, -1) + 1
            self._note(table, at)
            if table in self._counts:
                table = (*table, self._counts[table])
                self._note(table, at)
        self._table = table
        return self._text.index("]", end) + 1 + is_array

    def _names(self, at: int) -> tuple[list[str], int]:
        names = []
        while True:
            quoted = _TEXT.match(self._text, at)
            found = quoted or _BARE.match(self._text, at)
            assert found is not None  # noqa: S101 - the text is valid
            names.append(found[0][1:-1] if quoted else found[0])
            dot = _DOT.match(self._text, found.end())
            if dot is None:
                return names, found.end()
            at = dot.end()

    def _pair(self, at: int, table: Key) -> int:
        names, end = self._names(at)
        for depth in range(1, len(names) + 1):
            self._note((*table, *names[:depth]), at)
        return self._value(self._skip(self._text.index("=", end) + 1), (*table, *names))

    def _value(self, at: int, key: Key) -> int:
        first = self._text[at]
        if first == "[":
            return self._members(at, key, "]")
        if first == "{":
            return self._members(at, key, "}")
        found = _TEXT.match(self._text, at) or _PLAIN.match(self._text, at)
        assert found is not None  # noqa: S101 - the second matches anything
        return found.end()

    def _members(self, at: int, key: Key, end: str) -> int:
        """Go over an array or an inline table; return where it ends."""
        at = self._skip(at + 1)
        position = 0
        while self._text[at] != end:
            if end == "}":
                at = self._pair(at, key)
            else:
                self._note((*key, position), at)
                at = self._value(at, (*key, position))
            position += 1
            at = self._skip(at)
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1
