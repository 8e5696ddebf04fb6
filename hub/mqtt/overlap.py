"""Which topics two patterns share, and whether one takes every topic of the other. Exact.

A pattern is a small automaton: a state is a position in its list of tokens. Both questions walk two of them
side by side over the characters that their texts hold, and one that stands for all others.
"""

import re
from collections import deque
from functools import lru_cache
from typing import Final

from hub.mqtt.topics import TopicPattern

_TOKEN: Final = re.compile(r"/?\{[a-z][a-z0-9_]*\.\.\.\}|/?#|\{[a-z][a-z0-9_]*\}|\+|.", re.DOTALL)
_ONE, _ANY, _REST, _TAIL = "one", "any", "rest", "tail"
"""A character of a level; any number of these; nothing, or a slash and whatever; whatever."""
_OTHERS: Final = "xyzabcdefghijklmnopqrstuvw0123456789"

States = frozenset[int]
BEGIN: Final[States] = frozenset({-1})
"""Before the first character."""


@lru_cache(maxsize=4096)
def common_topic(one: TopicPattern, other: TopicPattern) -> str | None:
    """Return a shortest topic that both patterns take; None where there is none."""
    ours, theirs = _Automaton(one), _Automaton(other)
    alphabet = _alphabet(ours, theirs)
    seen = set()
    waiting = deque([("", BEGIN, BEGIN)])
    while waiting:
        text, mine, yours = waiting.popleft()
        if ours.takes(mine) and theirs.takes(yours):
            return text
        for char in alphabet:
            after = (ours.step(mine, char), theirs.step(yours, char))
            if after[0] and after[1] and after not in seen:
                seen.add(after)
                waiting.append((text + char, *after))
    return None


@lru_cache(maxsize=4096)
def is_within(one: TopicPattern, other: TopicPattern) -> bool:
    """Tell whether the other pattern takes every topic that the one takes."""
    ours, theirs = _Automaton(one), _Automaton(other)
    alphabet = _alphabet(ours, theirs)
    seen = set()
    waiting = deque([(BEGIN, BEGIN)])
    while waiting:
        mine, yours = waiting.popleft()
        if ours.takes(mine) and not theirs.takes(yours):
            return False
        for char in alphabet:
            after = (ours.step(mine, char), theirs.step(yours, char))
            if after[0] and after not in seen:
                seen.add(after)
                waiting.append(after)
    return True


class _Automaton:
    """A pattern, character by character."""

    def __init__(self, pattern: TopicPattern) -> None:
        self.tokens = _tokens(pattern.text)
        self._end = len(self.tokens)
        self._first = self._closed({0})

    def step(self, states: States, char: str) -> States:
        after: set[int] = set()
        first = states is BEGIN
        for at in self._first if first else states:
            token = self.tokens[at] if at < self._end else ""
            # A wildcard in the first place doesn't take $SYS and the like (MQTT 3.1.1, section 4.7.2).
            wild = not (first and char == "$")
            if token == char or (token == _ONE and char != "/" and wild):
                after.add(at + 1)
            elif (token == _ANY and char != "/" and wild) or (token == _TAIL and wild):
                after.add(at)
            elif token == _REST and char == "/":
                after.add(at + 1)
        return self._closed(after)

    def takes(self, states: States) -> bool:
        return self._end in states

    def _closed(self, states: set[int]) -> States:
        """Return all states that are reached without a character more."""
        closed: set[int] = set()
        open_ = list(states)
        while open_:
            at = open_.pop()
            if at in closed:
                continue
            closed.add(at)
            token = self.tokens[at] if at < self._end else ""
            if token in (_ANY, _TAIL):
                open_.append(at + 1)
            elif token == _REST:
                open_.append(at + 2)
        return frozenset(closed)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    for found in _TOKEN.findall(text):
        if found.endswith("...}") or found in ("#", "/#"):
            tokens += [_REST, _TAIL] if found[0] == "/" else [_TAIL]
        elif found == "+":
            tokens.append(_ANY)
        elif found[0] == "{":
            tokens += [_ONE, _ANY]
        else:
            tokens.append(found)
    return tokens


def _alphabet(one: _Automaton, other: _Automaton) -> list[str]:
    literal = {token for token in (*one.tokens, *other.tokens) if len(token) == 1}
    stand_in = next((char for char in _OTHERS if char not in literal), "\u00b7")
    return [stand_in, *sorted(literal | {"/", "$"})]
