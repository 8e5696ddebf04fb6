"""Paths into a payload: plain ones (`data.value[0].mmHg`), and JMESPath where plain ones don't reach.

A plain path names members with dots between them and elements as `[0]`; a member with a dot or a bracket in
its name is quoted: `data."a.b"`. It begins at the element that is read; `$` first begins at the payload.
`[*]` goes over every element of an array, and a single object counts as an array of one. The unit and the
quality of a value may begin beside it with `^`: `^.q` of the value at `hr.val` is `hr.q`.
"""

import re
from collections.abc import Callable
from typing import Final

from hub.devices.expression import Expression, Failed


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Nothing is at the path; null is something."""

EVERY: Final = -1
BESIDE: Final = "^."
"""How a path begins that leads from beside a value."""
Step = str | int
Get = Callable[[object, object], object]
"""Takes the element and the payload, returns what is at the path, or MISSING."""

_STEP: Final = re.compile(r'(?:^|\.)(?:"([^"]+)"|([^."\[\]]+))|\[(\d+|\*)\]')


class InvalidPathError(ValueError):
    """A path that can't be read; the message says why."""


class Path:
    """A path that was checked once and is followed often."""

    __slots__ = ("_expression", "from_root", "steps", "text")

    def __init__(self, text: str, *, jmes: bool = False) -> None:
        """Compile a path. Raises InvalidPathError."""
        self.text = text
        self.from_root = False
        self.steps: tuple[Step, ...] = ()
        self._expression: Expression | None = None
        if jmes:
            try:
                self._expression = Expression(text)
            except ValueError as error:
                raise InvalidPathError(str(error)) from None
        elif text.startswith("^"):
            raise InvalidPathError(
                f"{text!r}: only the unit and the quality of a value begin beside it, with ^."
            )
        else:
            self.from_root = text == "$" or text.startswith(("$.", "$["))
            self.steps = _steps(text, text[1:].removeprefix(".") if self.from_root else text)

    @property
    def key(self) -> str | None:
        """The name of the element's member that the path means; None where it leads elsewhere."""
        is_key = self._expression is None and not self.from_root and len(self.steps) == 1
        return step if is_key and isinstance(step := self.steps[0], str) else None

    def getter(self) -> Get:
        """Return the function that follows the path to one thing. Raises InvalidPathError for `[*]`.

        The function returns Failed where JMESPath can't be evaluated.
        """
        if self._expression is not None:
            return self._search
        if EVERY in self.steps:
            raise InvalidPathError(f"{self.text!r} means many: [*] is for `each`")
        steps, key = self.steps, self.key
        if self.from_root:
            return lambda _, root: _follow(root, steps)
        if key is not None:
            return lambda node, _: node.get(key, MISSING) if type(node) is dict else MISSING
        return lambda node, _: _follow(node, steps)

    def each(self, root: object) -> list[tuple[str, object]]:
        """Follow the path from the payload to all that it means: where each is, and what it is."""
        if self._expression is None:
            return _spread("$", root, self.steps)
        found = self._search(root, root)
        if isinstance(found, Failed):
            return [(self.below("$"), found)]
        elements = found if isinstance(found, list) else [] if found is MISSING else [found]
        return [(f"$|{self.text}[{position}]", element) for position, element in enumerate(elements)]

    def is_empty(self, root: object) -> bool:
        """Tell whether the path leads to an array that holds nothing, where `each` finds nothing."""
        if self._expression is not None:
            return self._search(root, root) == []
        levels = [position for position, step in enumerate(self.steps) if step == EVERY]
        return any(node == [] for level in levels for _, node in _spread("$", root, self.steps[:level]))

    def below(self, place: str) -> str:
        """Return where this path leads from an element, to be shown in a refusal."""
        if self._expression is not None:
            return f"{place}|{self.text}"
        if self.from_root:
            return self.text
        return place + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps)

    def _search(self, node: object, _root: object) -> object:
        assert self._expression is not None  # noqa: S101 - the constructor compiled it
        found = self._expression.search(node)
        return MISSING if found is None else found


def beside(text: str, value: str) -> str:
    """Return where a path that begins with `^.` leads for a value at another path; others as they are."""
    if not text.startswith(BESIDE):
        return text
    relative = value.removeprefix("$").removeprefix(".")
    cut = at = 0
    while found := _STEP.match(relative, at):
        cut, at = found.start(), found.end()
    around = value[: len(value) - len(relative)] + relative[:cut]
    rest = text.removeprefix(BESIDE)
    return f"{around.removesuffix('.')}.{rest}" if around else rest


def _steps(text: str, relative: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    at = 0
    while at < len(relative):
        found = _STEP.match(relative, at)
        if found is None:
            raise InvalidPathError(f"{text!r} stops making sense at {relative[at:]!r}; quote names with dots")
        quoted, plain, index = found.groups()
        if index is None:
            steps.append(quoted or plain)
        else:
            steps.append(EVERY if index == "*" else int(index))
        at = found.end()
    return tuple(steps)


def _follow(node: object, steps: tuple[Step, ...]) -> object:
    for step in steps:
        if type(step) is str:
            if type(node) is not dict or step not in node:
                return MISSING
            node = node[step]
        else:
            assert type(step) is int  # noqa: S101 - a step is a name or a number
            if type(node) is not list or step >= len(node):
                return MISSING
            node = node[step]
    return node


def _spread(place: str, node: object, steps: tuple[Step, ...]) -> list[tuple[str, object]]:
    """Return all that steps lead to, level by level: the place of each, and what is there."""
    level = [(place, node)]
    for step in steps:
        below: list[tuple[str, object]] = []
        for at, inner in level:
            if step != EVERY:
                found = _follow(inner, (step,))
                if found is not MISSING:
                    below.append((f"{at}[{step}]" if type(step) is int else f"{at}.{step}", found))
            elif type(inner) is list:
                below += [(f"{at}[{index}]", element) for index, element in enumerate(inner)]
            else:
                below.append((at, inner))
        level = below
    return level
