"""Access tokens: who may come in, in which role, until when."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, Literal, get_args

from msgspec import Struct
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hub.ward.database import Database, revision
from hub.ward.following import Following
from hub.ward.model import NotInRegistry, RegistryRefused, RegistryUnavailable
from hub.ward.tables import TokenRow

logger = logging.getLogger(__name__)

Role = Literal["nurse", "charge-nurse", "biomed", "it", "viewer"]
ROLES: Final[tuple[str, ...]] = get_args(Role)
_PART: Final = "tokens"
_NAME_LENGTH: Final = 128
_NOTE_EVERY_NS: Final = 60_000_000_000
"""How exactly the last use is recorded: a write a minute, not one a request."""


class Token(Struct, frozen=True):
    """What is known of a token; the secret is shown once, when it is made, and kept nowhere."""

    id: int
    name: str
    role: str
    created_ns: int
    expires_ns: int | None
    revoked_ns: int | None
    last_used_ns: int | None

    def is_valid(self, now_ns: int) -> bool:
        """Tell whether it opens anything at this time."""
        return self.revoked_ns is None and (self.expires_ns is None or now_ns < self.expires_ns)


class Tokens:
    """The tokens of one hub, in the registry's database; `verify` answers from memory.

    Raises RegistryUnavailable where the database fails. Several processes may use one database: `follow`
    takes over what the others made or revoked.
    """

    def __init__(self, url: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._database = Database(url)
        self._clock_ns = clock_ns
        self._revision = -1
        self._by_digest: dict[str, Token] = {}
        self._used_ns: dict[int, int] = {}
        self._noted_ns = 0
        self._following = Following(self._database, _PART, "tokens")

    async def start(self) -> None:
        """Connect, migrate, load. Raises RegistryUnavailable with what to change."""
        await self._database.start()
        try:
            await self._load()
        except BaseException:
            await self._database.stop()
            raise

    async def stop(self) -> None:
        """Record the last uses and close every connection."""
        try:
            await self._note_uses()
        except RegistryUnavailable as error:
            logger.warning("the last uses of tokens could not be recorded: %s", error)
        await self._database.stop()

    def verify(self, secret: str, now_ns: int) -> Token | None:
        """Return the token of this secret, or None: unknown, expired or revoked. In memory."""
        # Looked up by digest: how long that takes could tell about digests, never about a secret.
        token = self._by_digest.get(_digest(secret))
        if token is None or not token.is_valid(now_ns):
            return None
        self._used_ns[token.id] = now_ns
        return token

    async def create(self, name: str, role: str, expires_ns: int | None = None) -> str:
        """Make a token and return its secret, which nobody can show again. Raises RegistryRefused."""
        if role not in ROLES:
            raise RegistryRefused(f"role: expected one of {', '.join(ROLES)}; got {role!r}")
        if not name.strip() or len(name) > _NAME_LENGTH:
            raise RegistryRefused(f"name: expected 1 to {_NAME_LENGTH} characters")
        now_ns = self._clock_ns()
        if expires_ns is not None and expires_ns <= now_ns:
            raise RegistryRefused("expires: expected a time to come")
        secret = f"wh_{secrets.token_urlsafe(32)}"

        def work() -> None:
            with self._database.writing(_PART) as session:
                if _live(session, name, now_ns):
                    raise RegistryRefused(
                        f"there is a token {name!r} already: revoke it or take another name"
                    )
                session.add(
                    TokenRow(
                        name=name, role=role, sha256=_digest(secret), created_ns=now_ns, expires_ns=expires_ns
                    )
                )

        await self._database.run(work)
        await self._load()
        return secret

    async def revoke(self, name: str) -> None:
        """End the token of this name, at once. Raises NotInRegistry."""
        now_ns = self._clock_ns()

        def work() -> None:
            with self._database.writing(_PART) as session:
                rows = _live(session, name, now_ns)
                if not rows:
                    raise NotInRegistry(f"there is no token {name!r} that is valid")
                for row in rows:
                    row.revoked_ns = now_ns

        await self._database.run(work)
        await self._load()

    async def entries(self) -> list[Token]:
        """Return every token ever made, oldest first."""
        await self._note_uses()
        await self._load()
        return sorted(self._by_digest.values(), key=lambda token: token.id)

    async def follow(self) -> None:
        """Take over what other processes changed. Call it every second or so; never raises."""
        await self._following.follow(self._revision, self._load, self._note_due)

    async def _load(self) -> None:
        def work() -> tuple[int, dict[str, Token]]:
            with self._database.reading() as session:
                stored = revision(session, _PART)
                rows = session.scalars(select(TokenRow)).all()
                return stored, {row.sha256: _token(row) for row in rows}

        stored, by_digest = await self._database.run(work)
        # Two loads may end in either order; the older state never replaces the newer one.
        if stored >= self._revision:
            self._revision, self._by_digest = stored, by_digest

    async def _note_due(self) -> None:
        if self._clock_ns() - self._noted_ns >= _NOTE_EVERY_NS:
            await self._note_uses()

    async def _note_uses(self) -> None:
        self._noted_ns = self._clock_ns()
        if not self._used_ns:
            return
        used_ns, self._used_ns = self._used_ns, {}

        def work() -> None:
            with self._database.writing(_PART, steps=0) as session:
                for token, at_ns in used_ns.items():
                    session.execute(update(TokenRow).where(TokenRow.id == token).values(last_used_ns=at_ns))

        try:
            await self._database.run(work)
        except RegistryUnavailable:
            self._used_ns = used_ns | self._used_ns
            raise


def _live(session: Session, name: str, now_ns: int) -> Sequence[TokenRow]:
    rows = session.scalars(select(TokenRow).where(TokenRow.name == name, TokenRow.revoked_ns.is_(None)))
    return [row for row in rows if _token(row).is_valid(now_ns)]


def _token(row: TokenRow) -> Token:
    return Token(row.id, row.name, row.role, row.created_ns, row.expires_ns, row.revoked_ns, row.last_used_ns)


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
