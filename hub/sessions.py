"""Sessions of people at nurse stations: short for acting, long for the screen on the wall.

A session has two ends. It acts until nobody has touched the station for `idle_s`, and for `signed_s` at most;
after that it is locked: the screen goes on showing alarms and values, and nothing else can be done or seen
until somebody signs in. After `shown_s` it shows nothing more.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import delete, select, update

from hub.users import PART
from hub.ward.database import Database, revision
from hub.ward.following import Following
from hub.ward.tables import SessionRow

_PREFIX: Final = "ws_"
_SECOND_NS: Final = 1_000_000_000
_NOTE_EVERY_NS: Final = 60 * _SECOND_NS
"""How exactly the last touch survives a restart: a write a minute, not one a touch."""
_MOST: Final = 10_000


class Session(Struct, frozen=True):
    """Somebody at a station."""

    sha256: str
    user: str
    full_name: str
    role: str
    opened_ns: int
    touched_ns: int
    ends_ns: int
    subject: str | None = None
    """What the OpenID provider calls its user; None for a local one."""

    @property
    def name(self) -> str:
        """Who it is, as the audit and an alarm's history name them."""
        return self.user


class Person(Protocol):
    """Who begins a session: a local user, or somebody whom the OpenID provider knows."""

    @property
    def name(self) -> str:
        """As audit and alarm histories name them."""

    @property
    def full_name(self) -> str:
        """For people to read."""

    @property
    def role(self) -> str:
        """One of hub.tokens.ROLES."""


class SessionTimes(Struct, frozen=True):
    """How long a session lasts, in seconds."""

    idle_s: int = 15 * 60
    """Without anybody touching the station."""
    signed_s: int = 12 * 3600
    """A shift."""
    shown_s: int = 30 * 86_400
    """The screen alone."""


class Sessions:
    """The sessions of one hub, in the registry's database; `verify` and `is_active` answer from memory.

    Raises RegistryUnavailable where the database fails.
    """

    def __init__(
        self, url: str, clock_ns: Callable[[], int] = time.time_ns, times: SessionTimes | None = None
    ) -> None:
        self.times = times or SessionTimes()
        self._database = Database(url)
        self._clock_ns = clock_ns
        self._by_digest: dict[str, Session] = {}
        self._revision = -1
        self._noted: dict[str, int] = {}
        """When the last touch of a session was written."""
        self._following = Following(self._database, PART, "sessions")

    async def start(self) -> None:
        """Connect, migrate, load. Raises RegistryUnavailable with what to change."""
        await self._database.start()
        try:
            await self._load()
        except BaseException:
            await self._database.stop()
            raise

    async def stop(self) -> None:
        """Close every connection."""
        await self._database.stop()

    async def open(self, user: Person, subject: str | None = None, id_token: str | None = None) -> str:
        """Begin a session and return its secret, which is kept nowhere else.

        `subject` and `id_token` are the OpenID provider's; `close` gives the latter back.
        """
        now_ns = self._clock_ns()
        secret = _PREFIX + secrets.token_urlsafe(32)
        ends_ns = now_ns + self.times.shown_s * _SECOND_NS
        session = Session(
            digest_of(secret), user.name, user.full_name, user.role, now_ns, now_ns, ends_ns, subject
        )

        def work() -> None:
            with self._database.writing(PART) as database:
                # The bound: the oldest sessions give way.
                kept = select(SessionRow.sha256).order_by(SessionRow.touched_ns.desc()).limit(_MOST - 1)
                database.execute(delete(SessionRow).where(SessionRow.sha256.not_in(kept)))
                database.execute(delete(SessionRow).where(SessionRow.ends_ns <= now_ns))
                database.add(
                    SessionRow(id_token=id_token, **{name: getattr(session, name) for name in _FIELDS})
                )

        await self._database.run(work)
        await self._load()
        return secret

    def verify(self, secret: str, now_ns: int) -> Session | None:
        """Return the session of this secret, locked ones too, or None. In memory."""
        session = self._by_digest.get(digest_of(secret)) if secret.startswith(_PREFIX) else None
        return session if session is not None and now_ns < session.ends_ns else None

    def is_active(self, session: Session, now_ns: int) -> bool:
        """Tell whether its user may still act and see more than the screen on the wall."""
        idle = now_ns - session.touched_ns >= self.times.idle_s * _SECOND_NS
        return not idle and now_ns - session.opened_ns < self.times.signed_s * _SECOND_NS

    async def touch(self, session: Session) -> None:
        """Note that somebody is at the station. A locked session stays locked."""
        now_ns = self._clock_ns()
        if not self.is_active(session, now_ns) or session.sha256 not in self._by_digest:
            return
        self._by_digest[session.sha256] = _touched(session, now_ns)
        if now_ns - self._noted.get(session.sha256, session.opened_ns) < _NOTE_EVERY_NS:
            return
        self._noted[session.sha256] = now_ns

        def work() -> None:
            with self._database.writing(PART, steps=0) as database:
                row = update(SessionRow).where(SessionRow.sha256 == session.sha256)
                database.execute(row.values(touched_ns=now_ns))

        await self._database.run(work)

    async def close(self, digest: str) -> str | None:
        """End the session with this `sha256` at once. Return the ID token that it was opened with."""

        def work() -> str | None:
            with self._database.writing(PART) as database:
                row = database.get(SessionRow, digest)
                if row is None:
                    return None
                database.delete(row)
                return row.id_token

        id_token = await self._database.run(work)
        await self._load()
        return id_token

    async def end(self, user: str) -> int:
        """End every session of a user, at once; other processes' too. Return how many there were."""
        now_ns = self._clock_ns()

        def work() -> int:
            with self._database.writing(PART) as database:
                of_user = (SessionRow.user == user, SessionRow.ends_ns > now_ns)
                ended = len(database.scalars(select(SessionRow.sha256).where(*of_user)).all())
                database.execute(delete(SessionRow).where(SessionRow.user == user))
                return ended

        ended = await self._database.run(work)
        await self._load()
        return ended

    async def entries(self) -> list[Session]:
        """Return every session that shows something, the newest first."""
        await self._load()
        now_ns = self._clock_ns()
        shown = (session for session in self._by_digest.values() if now_ns < session.ends_ns)
        return sorted(shown, key=lambda session: session.opened_ns, reverse=True)

    async def follow(self) -> None:
        """Take over what other processes changed: users removed, sessions ended. Never raises."""
        await self._following.follow(self._revision, self._load)

    async def _load(self) -> None:
        def work() -> tuple[int, dict[str, Session]]:
            with self._database.reading() as database:
                stored = revision(database, PART)
                rows = database.scalars(select(SessionRow)).all()
                sessions = (Session(**{name: getattr(row, name) for name in _FIELDS}) for row in rows)
                return stored, {session.sha256: session for session in sessions}

        stored, by_digest = await self._database.run(work)
        # Two loads may end in either order; the older state never replaces the newer one.
        if stored < self._revision:
            return
        known = self._by_digest
        self._revision = stored
        self._by_digest = {
            digest: _touched(session, max(session.touched_ns, known[digest].touched_ns))
            if digest in known
            else session
            for digest, session in by_digest.items()
        }
        self._noted = {digest: at for digest, at in self._noted.items() if digest in by_digest}


_FIELDS: Final = Session.__struct_fields__


def csrf_token(secret: str) -> str:
    """Return what a page sends along with a change: it follows from the secret and does not tell it."""
    return hmac.new(secret.encode("utf-8", "replace"), b"csrf", sha256).hexdigest()


def _touched(session: Session, at_ns: int) -> Session:
    return replace(session, touched_ns=at_ns)


def digest_of(secret: str) -> str:
    """Return what is kept of a session's secret, and names the session."""
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
