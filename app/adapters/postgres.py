"""Connections to Postgres: a small pool whose transactions end in time, whatever the server does.

Three things speak against a pool from a library. A server that hangs (a stopped process, a dead host) sends nothing, so
`statement_timeout` cannot end the wait; here psycopg2 waits in `_wait`, which knows the waiting transaction's deadline.
BEGIN is sent first and proves that a pooled connection is alive, so a dead one is replaced before the caller notices.
And giving a connection back does no network I/O.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, BinaryIO, Protocol

from app.adapters.connection_pool import ConnectionPool
from app.adapters.postgres_errors import connection_refused, refused
from app.errors import AppError, StartupError, StoreTimeout

OLDEST_SERVER = 14
OLDEST_PGVECTOR = (0, 8)  # the first that goes on scanning an index until the caller has enough

_GRACE_S = 0.25  # how much later than its statement_timeout a server may say so
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}  # seconds, seconds, probes
_VERSIONS = """
    SELECT current_setting('server_version_num')::int / 10000,
           (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),
           (SELECT extversion FROM pg_extension WHERE extname = 'vector')
"""

_deadline: ContextVar[float] = ContextVar("postgres_deadline", default=math.inf)


class Cursor(Protocol):
    """What the services use of psycopg2's cursor; parameters are named, NumPy arrays go in as vectors."""

    rowcount: int
    description: Sequence[Sequence[Any]]  # of a result's columns, each beginning with its name

    def execute(self, query: str, params: Mapping[str, Any] | None = None) -> None:
        """Run a statement, or several of which the last may have a result."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of the result."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows of the result that were not fetched yet."""
        ...


class CopyCursor(Cursor, Protocol):
    """A cursor of `Database.bulk_transaction`; `copy_expert` runs `COPY ... FROM STDIN` with what a file holds."""

    def copy_expert(self, sql: str, file: BinaryIO, size: int = 8192) -> None: ...


class Database:
    """Transactions on one Postgres; it connects when first used, and anew in each process.

    :param url: what libpq accepts, or where to ask for it before each connection.
    :param pool_size: connections at a time, per process.
    :param connect_timeout_s: how long a connection may take to come about.
    """

    def __init__(self, url: str | Callable[[], str], pool_size: int = 4, connect_timeout_s: float = 3.0) -> None:
        self._url = url
        self._pool_size = pool_size
        self._connect_timeout_s = connect_timeout_s
        self._pools: dict[int, ConnectionPool] = {}  # by process: a connection must not cross a fork

    def __repr__(self) -> str:
        return f"Database(pool_size={self._pool_size})"  # the URL may hold a password

    @contextmanager
    def transaction(self, timeout_s: float, *, read_only: bool = False, settings: str = "") -> Iterator[Cursor]:
        """A cursor in a transaction, which is committed at the end and rolled back where the block raises.

        :param timeout_s: for each statement; for all of them together, connecting included, a quarter second more.
        :param settings: `SET LOCAL` statements of ours, sent together with BEGIN: a way to the server less.
        :raises StoreTimeout: the time is over.
        :raises StoreUnavailable: no connection (`pool_exhausted`: all of this process are busy), or a statement failed.
        """
        pool, mode = self._pool(), "READ ONLY" if read_only else "READ WRITE"
        begin = f"BEGIN {mode}; SET LOCAL statement_timeout = {math.ceil(timeout_s * 1000)}; {settings}"
        with (
            _time_limit(timeout_s + _GRACE_S),
            translated_errors(),
            pool.slot(min(timeout_s, self._connect_timeout_s)),
        ):
            connection = self._begin(pool, begin)
            try:
                cursor = connection.cursor()
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            finally:
                pool.give_back(connection)

    @contextmanager
    def bulk_transaction(self, timeout_s: float) -> Iterator[CopyCursor]:
        """A transaction on a connection of its own, whose cursor can COPY. For scripts only, and in one thread.

        psycopg2 refuses COPY while the process has a wait callback. It is taken away here, so that until the end only
        the server's `statement_timeout` limits what this process asks of it: not good enough for a web worker.

        :param timeout_s: for each statement.
        :raises StoreUnavailable: no connection, or a statement failed; StoreTimeout: one took too long.
        """
        with translated_errors(), _blocking(), closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"BEGIN; SET LOCAL statement_timeout = {math.ceil(timeout_s * 1000)}")
            yield cursor
            cursor.execute("COMMIT")  # where the block raises, closing the connection rolls back

    @contextmanager
    def without_transaction(self, timeout_s: float) -> Iterator[Cursor]:
        """A cursor on a connection of its own, each statement a transaction, as CREATE INDEX CONCURRENTLY asks.

        :param timeout_s: for each statement, and for all of them together.
        :raises StoreUnavailable: no connection, or a statement failed; StoreTimeout: the time is over.
        """
        with _time_limit(timeout_s + _GRACE_S), translated_errors(), closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SET statement_timeout = {math.ceil(timeout_s * 1000)}")
            yield cursor

    def connect(self) -> Any:
        """A new connection of psycopg2 that no pool knows, in autocommit mode; the caller closes it.

        :raises StartupError: DATABASE_URL cannot be read.
        :raises StoreUnavailable: the server does not let us in, with the reason; StoreTimeout: it does not answer.
        """
        driver = _driver()
        url = self._url() if callable(self._url) else self._url
        options = _KEEPALIVE | {"connect_timeout": math.ceil(self._connect_timeout_s)}  # where `_wait` is away
        with _time_limit(self._connect_timeout_s):
            try:
                connection = driver.connect(
                    url, client_encoding="utf8", fallback_application_name="facerecweb", **options
                )
            # The cause is left out on purpose: libpq quotes the URL, with parts of a password that has a stray '@'.
            except driver.ProgrammingError:
                raise StartupError("DATABASE_URL is not a connection URL; percent-encode its password.") from None
            except driver.OperationalError as exc:
                raise connection_refused(str(exc)) from None
        connection.autocommit = True  # BEGIN and COMMIT are ours to send
        return connection

    def require_supported(self) -> None:
        """Check the versions of the server and of pgvector.

        :raises StartupError: one of them is too old or missing; the sentence says what to do.
        :raises StoreUnavailable: the server cannot be asked.
        """
        with self.transaction(self._connect_timeout_s, read_only=True) as cursor:
            cursor.execute(_VERSIONS)
            server, available, installed = cursor.fetchone() or (0, None, None)
        if server < OLDEST_SERVER:
            raise StartupError(f"The database is Postgres {server}; this service needs {OLDEST_SERVER} or newer.")
        if available is None:
            raise StartupError("The database server has no pgvector: install version 0.8 or newer on it.")
        if _version(available) < OLDEST_PGVECTOR:
            raise StartupError(f"The database server has pgvector {available}; this service needs 0.8 or newer.")
        if installed is not None and _version(installed) < OLDEST_PGVECTOR:
            raise StartupError(f"The database uses pgvector {installed}; run: ALTER EXTENSION vector UPDATE;")

    def close(self) -> None:
        """Close this process's idle connections; those in use are closed no earlier than they are given back."""
        self._pool().clear()

    def _pool(self) -> ConnectionPool:
        pid = os.getpid()
        return self._pools.get(pid) or self._pools.setdefault(pid, ConnectionPool(self._pool_size))

    def _begin(self, pool: ConnectionPool, begin: str) -> Any:
        """A connection whose transaction has begun: an idle one, or where that proves dead, a new one."""
        connection = pool.take()
        if connection is not None:
            try:
                connection.cursor().execute(begin)
            except (_driver().OperationalError, _driver().InterfaceError):
                connection.close()
                pool.clear()  # what ended this connection has ended the others too
            else:
                return connection
        connection = self.connect()
        connection.cursor().execute(begin)
        return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise this service's errors in place of psycopg2's."""
    driver = _driver()
    try:
        yield
    except driver.Error as exc:
        lost = isinstance(exc, (driver.OperationalError, driver.InterfaceError))
        if exc.pgcode is None and not lost:
            raise  # a mistake of ours that never reached the server
        raise refused(exc.pgcode) from exc


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Everything that waits for the server in this block does so no longer than this in all."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def _blocking() -> Iterator[None]:
    """psycopg2 waits by itself in this block, in the whole process."""
    extensions = _driver().extensions
    extensions.set_wait_callback(None)
    try:
        yield
    finally:
        extensions.set_wait_callback(_wait)


def _roll_back(connection: Any) -> None:
    if connection.closed:
        return
    try:
        connection.cursor().execute("ROLLBACK")
    except (AppError, _driver().Error):
        connection.close()


@cache
def _driver() -> Any:
    """psycopg2, told how to wait and how to write a NumPy array."""
    import numpy as np
    import psycopg2
    import psycopg2.extensions
    from pgvector import Vector

    psycopg2.extensions.set_wait_callback(_wait)
    # pgvector's own registration also looks up the type's OIDs for reading; those change when a dump is restored, and
    # every pooled connection would then read wrongly. Vectors are read in binary form (vector_send), which needs none.
    psycopg2.extensions.register_adapter(np.ndarray, lambda a: psycopg2.extensions.adapt(Vector(a).to_text()))
    return psycopg2


def _wait(connection: Any) -> None:
    """Wait until psycopg2 has what it waits for; an error raised here makes it close the connection.

    See psycopg2's documentation, "Support for coroutine libraries".
    """
    extensions = _driver().extensions
    while (state := connection.poll()) != extensions.POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        remaining_s = _deadline.get() - time.monotonic()
        if not poller.poll(None if math.isinf(remaining_s) else max(0.0, remaining_s * 1000)):
            raise StoreTimeout("The database did not answer within the time limit.")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
