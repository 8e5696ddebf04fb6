"""Local users: who they are, what role they have, and whether a password is theirs."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct
from sqlalchemy import delete, select

from hub.tokens import ROLES
from hub.ward.database import Database
from hub.ward.model import NotInRegistry, RegistryRefused
from hub.ward.tables import SessionRow, UserRow

logger = logging.getLogger(__name__)

PART: Final = "users"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 256
"""Longer ones would only cost time."""
_FULL_NAME_LENGTH: Final = 128

_ATTEMPTS: Final = 5
_FORGET_NS: Final = 60_000_000_000
_MOST_NAMES: Final = 10_000
"""Names with failed attempts that are remembered: bounded against a flood of made-up ones."""


class User(Struct, frozen=True):
    """A user as others see them."""

    name: str
    full_name: str
    role: str
    created_ns: int
    changed_ns: int
    """When the password, role or name last changed."""


class TooManyAttempts(Exception):  # noqa: N818 - a state, told to who asked
    """A name failed too often just now."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many failed attempts for this user; wait a minute")
        self.retry_after_s = retry_after_s


class Attempts:
    """Failed attempts by name, within the last minute. Pure: time is an argument."""

    def __init__(self, most: int = _ATTEMPTS, forget_ns: int = _FORGET_NS) -> None:
        self._most = most
        self._forget_ns = forget_ns
        self._failed: dict[str, list[int]] = {}

    def check(self, name: str, now_ns: int) -> None:
        """Refuse a name that failed too often. Raises TooManyAttempts."""
        recent = [at for at in self._failed.get(name, ()) if now_ns - at < self._forget_ns]
        if len(recent) >= self._most:
            raise TooManyAttempts((recent[0] + self._forget_ns - now_ns) / 1e9)

    def fail(self, name: str, now_ns: int) -> None:
        """Remember a failure."""
        recent = [at for at in self._failed.pop(name, ()) if now_ns - at < self._forget_ns]
        if len(self._failed) >= _MOST_NAMES:
            self._failed.pop(next(iter(self._failed)))
        self._failed[name] = [*recent, now_ns]

    def succeed(self, name: str) -> None:
        """Forget the failures of a name."""
        self._failed.pop(name, None)


class Users:
    """The local users of one hub, in the registry's database.

    Raises RegistryUnavailable where the database fails. A name or password that is wrong gives the same
    answer in about the same time. Hashing takes tens of milliseconds and runs on a worker thread.
    """

    def __init__(
        self,
        url: str,
        clock_ns: Callable[[], int] = time.time_ns,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._database = Database(url)
        self._clock_ns = clock_ns
        self._hasher = hasher or PasswordHasher()
        self._attempts = Attempts()
        self._nobody = ""

    async def start(self) -> None:
        """Connect and migrate. Raises RegistryUnavailable with what to change."""
        await self._database.start()
        # What an unknown name is checked against, so that it takes as long as a known one.
        self._nobody = await self._database.run(self._hasher.hash, "nobody has this password")

    async def stop(self) -> None:
        """Close every connection."""
        await self._database.stop()

    async def add(self, name: str, full_name: str, role: str, password: str) -> None:
        """Add a user. Raises RegistryRefused."""
        _check_role(role)
        _check_password(password)
        if NAME.fullmatch(name) is None:
            raise RegistryRefused("name: expected 1 to 64 lower-case letters, digits, ., _, @ or -")
        if not full_name.strip() or len(full_name) > _FULL_NAME_LENGTH:
            raise RegistryRefused(f"full name: expected 1 to {_FULL_NAME_LENGTH} characters")
        now_ns = self._clock_ns()

        def work() -> None:
            hashed = self._hasher.hash(password)
            with self._database.writing(PART) as session:
                if session.get(UserRow, name) is not None:
                    raise RegistryRefused(f"there is a user {name!r} already")
                session.add(
                    UserRow(
                        name=name,
                        full_name=full_name.strip(),
                        role=role,
                        password_hash=hashed,
                        created_ns=now_ns,
                        changed_ns=now_ns,
                    )
                )

        await self._database.run(work)

    async def change(self, name: str, *, role: str | None = None, password: str | None = None) -> None:
        """Give a user another role or password; their sessions end. Raises NotInRegistry."""
        if role is not None:
            _check_role(role)
        if password is not None:
            _check_password(password)
        now_ns = self._clock_ns()

        def work() -> None:
            hashed = None if password is None else self._hasher.hash(password)
            with self._database.writing(PART) as session:
                row = session.get(UserRow, name)
                if row is None:
                    raise NotInRegistry(f"there is no user {name!r}")
                row.role = role or row.role
                row.password_hash = hashed or row.password_hash
                row.changed_ns = now_ns
                session.execute(delete(SessionRow).where(SessionRow.user == name))

        await self._database.run(work)

    async def remove(self, name: str) -> None:
        """Remove a user and end their sessions. Raises NotInRegistry."""

        def work() -> None:
            with self._database.writing(PART) as session:
                row = session.get(UserRow, name)
                if row is None:
                    raise NotInRegistry(f"there is no user {name!r}")
                session.delete(row)
                session.execute(delete(SessionRow).where(SessionRow.user == name))

        await self._database.run(work)

    async def exists(self, name: str) -> bool:
        """Tell whether there is a user of this name."""

        def work() -> bool:
            with self._database.reading() as session:
                return session.get(UserRow, name) is not None

        return await self._database.run(work)

    async def entries(self) -> list[User]:
        """Return every user, by name."""

        def work() -> list[User]:
            with self._database.reading() as session:
                return [_user(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]

        return await self._database.run(work)

    async def check(self, name: str, password: str) -> User | None:
        """Return the user whose password this is, or None. Raises TooManyAttempts."""
        now_ns = self._clock_ns()
        self._attempts.check(name, now_ns)
        # Counted before it is known to be one: attempts that come all at once are counted too.
        self._attempts.fail(name, now_ns)

        def work() -> User | None:
            with self._database.reading() as session:
                row = session.get(UserRow, name)
            hashed = self._nobody if row is None else row.password_hash
            if not self._verifies(hashed, password[:LONGEST_PASSWORD]) or row is None:
                return None
            return _user(row)

        user = await self._database.run(work)
        if user is None:
            # The name may be a password in the wrong field, so it is not logged.
            logger.warning("a sign-in failed")
            return None
        self._attempts.succeed(name)
        return user

    def _verifies(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _user(row: UserRow) -> User:
    return User(row.name, row.full_name, row.role, row.created_ns, row.changed_ns)


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise RegistryRefused(f"role: expected one of {', '.join(ROLES)}; got {role!r}")


def _check_password(password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise RegistryRefused(f"password: expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
