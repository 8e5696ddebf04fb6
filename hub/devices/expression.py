"""JMESPath, where plain paths don't reach: compiled and checked once, and never silent where it fails."""

from collections.abc import Iterator
from typing import Any, Final

import jmespath
import jmespath.exceptions
from jmespath.functions import Functions

from hub.devices.payload import Unusable

_FUNCTIONS: Final[dict[str, dict[str, Any]]] = Functions.FUNCTION_TABLE
_FAILS: Final = "an expression that fails:"


class Failed(Unusable, frozen=True, gc=False):
    """Stands for what an expression couldn't be evaluated to."""


class Expression:
    """A JMESPath expression whose functions exist and get as many arguments as they take."""

    __slots__ = ("_search",)

    def __init__(self, text: str) -> None:
        """Compile an expression. Raises ValueError saying what is wrong."""
        try:
            compiled = jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            raise ValueError(f"{text!r} is not JMESPath: {str(error).splitlines()[0]}") from None
        for name, given in _calls(compiled.parsed):
            _check_call(text, name, given)
        self._search = compiled.search

    def search(self, node: object) -> object:
        """Return what the expression is of a node, None for nothing, Failed where it can't be evaluated."""
        try:
            return self._search(node)
        except jmespath.exceptions.JMESPathTypeError as error:
            # Its own text holds the value, which could be a patient's.
            expected = " or ".join(kind.replace("array-", "array of ") for kind in error.expected_types)
            return Failed(f"{_FAILS} {error.function_name}() takes {expected}, not {error.actual_type}")
        except (jmespath.exceptions.JMESPathError, ValueError, TypeError, AttributeError) as error:
            return Failed(f"{_FAILS} {type(error).__name__}")
        except RecursionError:
            return Failed(f"{_FAILS} it leads too deep")


def _calls(node: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Return the functions that an expression calls, each with the number of its arguments."""
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _calls(child)


def _check_call(text: str, name: str, given: int) -> None:
    known = _FUNCTIONS.get(name)
    if known is None:
        raise ValueError(
            f"{text!r}: JMESPath has no function {name}(); there are {', '.join(sorted(_FUNCTIONS))}"
        )
    takes = known["signature"]
    at_least = bool(takes) and bool(takes[-1].get("variadic"))
    if given < len(takes) or (given > len(takes) and not at_least):
        raise ValueError(f"{text!r}: {name}() takes {len(takes)} arguments, not {given}")
