"""The registry's database: SQLite by default, PostgreSQL where its URL says so."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, create_engine, event, make_url, select, text, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from hub.ward.model import RegistryRefused, RegistryUnavailable
from hub.ward.tables import RevisionRow

T = TypeVar("T")

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_THREADS: Final = 4
_BUSY_S: Final = 10
"""How long SQLite waits for another process's write."""
_MIGRATION_LOCK: Final = 0x77617264687562
"""PostgreSQL advisory lock: two hubs that start at once migrate one after the other."""


class Database:
    """One pool of connections, used from worker threads of its own so that a slow query stalls nobody else.

    Reads see one state of the database. Writes of one part come one after the other, in every process: what a
    write checked still holds when it commits. Whatever fails leaves as RegistryUnavailable (retry) or
    RegistryRefused; messages hold no parameters, since those may be patient data.
    """

    def __init__(self, url: str) -> None:
        self._given = url
        self._threads: ThreadPoolExecutor | None = None
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine, once started."""
        if self._engine is None:
            raise RegistryUnavailable("the registry's database is not started")
        return self._engine

    async def start(self) -> None:
        """Connect and migrate. Raises RegistryUnavailable with what to change."""
        url = parse_url(self._given)
        self._threads = ThreadPoolExecutor(_THREADS, "registry")
        try:
            self._engine = _engine(url)
            await self.run(self._migrate)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let running statements end, then close every connection."""
        threads, self._threads = self._threads, None
        engine, self._engine = self._engine, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        if engine is not None:
            engine.dispose()

    async def run(self, work: Callable[..., T], *args: Any) -> T:  # noqa: ANN401 - passed on as they are
        """Call `work(*args)` on a worker thread; a database error comes out in the registry's words."""
        if self._threads is None:
            raise RegistryUnavailable("the registry's database is not started")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._translated, work, args)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one state of the database throughout."""
        engine = self.engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with Session(engine) as session:
            yield session

    @contextmanager
    def writing(self, part: str, steps: int = 1) -> Iterator[Session]:
        """Open a session that alone may change this part; commit, and raise its revision, unless it fails.

        With `steps` 0 the revision stays: other processes needn't know.
        """
        engine = self.engine.execution_options(immediate=True)
        if engine.dialect.name == "postgresql":
            # Whatever the server's default: what follows the lock must see what the one before committed.
            engine = engine.execution_options(isolation_level="READ COMMITTED")
        with Session(engine) as session, session.begin():
            session.execute(
                update(RevisionRow).where(RevisionRow.part == part).values(value=RevisionRow.value + steps)
            )
            yield session

    def scrub(self, *tables: str) -> None:
        """Overwrite what deleted rows left behind in the database's own files."""
        if self.engine.dialect.name == "postgresql":
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for table in tables:
                    connection.execute(text(f"VACUUM (FULL) {table}"))
            return
        # VACUUM runs outside a transaction, and SQLAlchemy would begin one.
        raw = self.engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("VACUUM")
            busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            raw.close()
        if busy:
            raise RegistryUnavailable(
                "another process reads the registry's database, so its write-ahead log still holds what was "
                "erased; try again"
            )

    def _migrate(self) -> None:
        with self.engine.connect().execution_options(immediate=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            migrate(connection)

    def _translated(self, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        try:
            return work(*args)
        except (DataError, IntegrityError) as error:
            # The driver's own text quotes the row, which may be a patient's.
            raise RegistryRefused(
                f"the registry's database refused a row ({type(error.orig).__name__}): it contradicts "
                "another one, or a text is too long or holds a zero byte"
            ) from None
        except DBAPIError as error:
            raise RegistryUnavailable(f"registry database {shown(self._given)}: {_reason(error)}") from None
        except (SQLAlchemyError, OSError) as error:
            raise RegistryUnavailable(f"registry database {shown(self._given)}: {error}") from None
        except CommandError as error:
            raise RegistryUnavailable(
                f"registry database {shown(self._given)} was written by another version of the hub "
                f"({error}): install that version or a newer one"
            ) from None


def migrate(connection: Connection) -> None:
    """Bring the database to the newest form, within the transaction that the caller commits."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def revision(session: Session, part: str) -> int:
    """Return how often this part was changed."""
    return session.scalars(select(RevisionRow.value).where(RevisionRow.part == part)).one()


def parse_url(given: str) -> URL:
    """Check a database URL and name its driver. Raises RegistryUnavailable with what was expected."""
    expected = "expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    try:
        url = make_url(given)
    except ArgumentError:
        raise RegistryUnavailable(f"the registry's database URL can't be read: {expected}") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise RegistryUnavailable(f"the registry's database URL names no file: {expected}")
        return url.set(drivername="sqlite+pysqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise RegistryUnavailable(f"the registry can't use a {backend} database: {expected}")


def shown(given: str) -> str:
    """Return a database URL that may be logged: its password is hidden."""
    return make_url(given).render_as_string(hide_password=True)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        try:
            return create_engine(
                url,
                pool_size=_THREADS,
                max_overflow=0,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"connect_timeout": 5, "application_name": "wardhub"},
            )
        except ModuleNotFoundError:
            raise RegistryUnavailable(
                "PostgreSQL needs the driver psycopg: pip install 'wardhub[postgresql]'"
            ) from None
    path = Path(str(url.database))
    try:
        # Patients' names are in this file: nobody else reads it. WAL and index files take its mode.
        # One that exists is not opened here: closing it would let go of every lock that this process holds on
        # it by other connections (POSIX), and another process would then take their log away under them.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise RegistryUnavailable(
            f"registry database {path}: {error.strerror}; "
            "create the directory, allow writing, or name another file"
        ) from None
    engine = create_engine(
        url,
        pool_size=_THREADS,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_S},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DB-API connection
    # Transactions begin where SQLAlchemy says so, not where the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:  # noqa: ANN401 - a DB-API cursor
    """Switch to write-ahead logging; SQLite doesn't wait for that by itself while another process does it."""
    deadline_s = time.monotonic() + _BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that is going to write takes the lock at once: one that reads first and then wants to
    # write would fail, without waiting, if another process wrote in between.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _reason(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
