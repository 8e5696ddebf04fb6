"""Programs that prove who they are by signing: the public keys and SMART scopes of each."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from sqlalchemy import select

from hub.ward.database import Database, revision
from hub.ward.following import Following
from hub.ward.model import NotInRegistry, RegistryRefused
from hub.ward.tables import ClientRow

_PART: Final = "clients"
_ID_LENGTH: Final = 128


class Client(Struct, frozen=True):
    """A program as it is registered; its private key never leaves it."""

    id: str
    """What SMART calls client_id."""
    scopes: tuple[str, ...]
    """The most that it may do."""
    jwks: str | None
    """Its public keys, a JSON Web Key Set (RFC 7517); None where `jwks_url` tells them."""
    jwks_url: str | None
    created_ns: int
    expires_ns: int | None = None

    def is_valid(self, now_ns: int) -> bool:
        """Tell whether it may come in at this time."""
        return self.expires_ns is None or now_ns < self.expires_ns


class Clients:
    """The clients of one hub, in the registry's database; `find` answers from memory.

    Raises RegistryUnavailable where the database fails. Several processes may use one database: `follow`
    takes over what the others registered or removed.
    """

    def __init__(self, url: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._database = Database(url)
        self._clock_ns = clock_ns
        self._revision = -1
        self._by_id: dict[str, Client] = {}
        self._following = Following(self._database, _PART, "FHIR clients")

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

    def find(self, client_id: str, now_ns: int) -> Client | None:
        """Return the client of this id, or None: unknown, expired or removed. In memory."""
        client = self._by_id.get(client_id)
        return client if client is not None and client.is_valid(now_ns) else None

    async def add(
        self,
        client_id: str,
        scopes: Sequence[str],
        *,
        jwks: str | None = None,
        jwks_url: str | None = None,
        expires_ns: int | None = None,
    ) -> None:
        """Register a client by its key set or where that is to be had. Raises RegistryRefused."""
        now_ns = self._clock_ns()
        if not client_id.strip() or len(client_id) > _ID_LENGTH:
            raise RegistryRefused(f"id: expected 1 to {_ID_LENGTH} characters")
        if (jwks is None) == (jwks_url is None):
            raise RegistryRefused("keys: expected either a key set or the address of one")
        if expires_ns is not None and expires_ns <= now_ns:
            raise RegistryRefused("expires: expected a time to come")
        row = ClientRow(
            id=client_id,
            scopes=" ".join(scopes),
            jwks=jwks,
            jwks_url=jwks_url,
            created_ns=now_ns,
            expires_ns=expires_ns,
        )

        def work() -> None:
            with self._database.writing(_PART) as session:
                if session.get(ClientRow, client_id) is not None:
                    raise RegistryRefused(f"there is a client {client_id!r} already: remove it first")
                session.add(row)

        await self._database.run(work)
        await self._load()

    async def remove(self, client_id: str) -> None:
        """Remove a client; access tokens that it holds end within minutes. Raises NotInRegistry."""

        def work() -> None:
            with self._database.writing(_PART) as session:
                row = session.get(ClientRow, client_id)
                if row is None:
                    raise NotInRegistry(f"there is no client {client_id!r}")
                session.delete(row)

        await self._database.run(work)
        await self._load()

    def entries(self) -> list[Client]:
        """Return every client, by id."""
        return [self._by_id[name] for name in sorted(self._by_id)]

    async def follow(self) -> None:
        """Take over what other processes changed. Call it every second or so; never raises."""
        await self._following.follow(self._revision, self._load)

    async def _load(self) -> None:
        def work() -> tuple[int, dict[str, Client]]:
            with self._database.reading() as session:
                stored = revision(session, _PART)
                return stored, {row.id: _client(row) for row in session.scalars(select(ClientRow))}

        stored, by_id = await self._database.run(work)
        # Two loads may end in either order; the older state never replaces the newer one.
        if stored >= self._revision:
            self._revision, self._by_id = stored, by_id


def _client(row: ClientRow) -> Client:
    return Client(row.id, tuple(row.scopes.split()), row.jwks, row.jwks_url, row.created_ns, row.expires_ns)
