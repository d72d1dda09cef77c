"""Starting, sharing and ending the embedded server."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from app.adapters.embedded_postgres import programs
from app.adapters.embedded_postgres.account import Account, account_for
from app.adapters.embedded_postgres.postmaster import PID_FILE, Postmaster
from app.errors import StartupError, StoreUnavailable

START_TIMEOUT_S = 120  # replaying the log of a large database after a crash takes a minute or more

_PORT = 5432  # names the socket's file; nothing listens on TCP, so another Postgres on this port does not matter
_LONGEST_SOCKET_PATH = 103  # bytes, the limit of macOS; Linux allows four more

_INITDB_OPTIONS = (
    "--auth=trust",  # the socket lies in a folder that only its owner can enter
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
# Written into postgresql.conf once, so that an operator's ALTER SYSTEM wins over them.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "512MB",  # scans of a table above a quarter of it bypass it, and take 1.4 times as long
    "maintenance_work_mem": "256MB",  # the HNSW graph of 30,000 x 512 is built in memory
    "dynamic_shared_memory_type": "mmap",  # a parallel index build does not fit the 64 MB /dev/shm of a container
    "max_wal_size": "4GB",  # a bulk load writes several of them; each checkpoint in between writes its pages anew
    "log_checkpoints": "off",
    # A failing statement would be logged with its values: names of persons and face vectors.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """The server over one data folder; several processes may use it, and the last one to stop ends it.

    Run by root, the server belongs to the folder's owner or, for a new folder, to the account `facerec-postgres`. That
    account must be able to pass through every parent folder: one that is closed to it is opened for passing (not for
    listing), and a warning names it. Refusing instead would keep a checkout in root's home from ever starting.

    :param pgdata: the data folder, made at the first start.
    """

    def __init__(self, pgdata: Path) -> None:
        self.pgdata = pgdata.absolute()
        self.started_here = False
        self._usage: int | None = None  # a file whose shared lock counts this process among the users
        self._usage_pid = 0

    @property
    def url(self) -> str:
        """Where the server is reached now, as libpq reads it; starts nothing, so that a web worker may ask each time.

        :raises StoreUnavailable: it is not running.
        """
        postmaster = Postmaster.read(self.pgdata)
        if postmaster is None:
            raise StoreUnavailable("The embedded Postgres is not running, or belongs to another user.")
        return postmaster.url

    def start(self) -> str:
        """Start the server unless it runs already, and count this process among its users.

        :return: `url`; `started_here` says whether this call had to start it.
        :raises StartupError: with what to do, e.g. when the folder belongs to somebody else.
        """
        account = account_for(self.pgdata)
        self.pgdata.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._join()  # first, so that `stop` also ends a server whose start was interrupted
            self.started_here = not self._adopt()
            if self.started_here:
                self._initialise(account)
                self._launch(account)
        return self.url

    def stop(self) -> None:
        """Leave; when no other process uses the server, end it. Does nothing in a forked child."""
        if self._usage is None or self._usage_pid != os.getpid():
            return
        with self._alone():
            usage, self._usage = self._usage, None
            last = _try_lock(usage)
            os.close(usage)
            if last:
                self._end()

    def _end(self) -> None:
        running = self._settled()
        if running is None or not running.listens():
            return
        _pg_ctl(account_for(self.pgdata), self.pgdata, "stop", "-m", "fast")
        with suppress(OSError):  # not empty: it is the data folder
            Path(running.socket_folder).rmdir()
        log.info("embedded_postgres.stopped")

    def _adopt(self) -> bool:
        """Take over a server that runs already, and clear away what would keep a new one from starting."""
        found = self._settled()
        if found is None or found.listens():
            return found is not None
        if found.pid_is_alive():
            # A stranger got the dead server's pid; Postgres would take it for a running server and refuse to start.
            log.warning("embedded_postgres.stale_pid_file", pid=found.pid)
            (self.pgdata / PID_FILE).unlink(missing_ok=True)
        return False

    def _settled(self) -> Postmaster | None:
        """What there is of a server once it is neither starting nor ending."""

        def in_transit() -> bool:
            found = Postmaster.read(self.pgdata)
            return found is not None and found.in_transit()

        _wait_until(lambda: not in_transit(), "The embedded Postgres neither gets ready nor ends.")
        return Postmaster.read(self.pgdata)

    def _initialise(self, account: Account | None) -> None:
        """Make the data folder beside its place and move it there complete: a killed initdb leaves no half of one."""
        if (self.pgdata / "PG_VERSION").exists():
            return
        if self.pgdata.exists() and any(self.pgdata.iterdir()):
            raise StartupError(
                f"{self.pgdata} is neither empty nor the data of a Postgres. Choose another STORAGE_DIR."
            )
        fresh = self._beside(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if account:
            os.chown(fresh, account.uid, account.gid)
        settings = [f"--set={name}={value}" for name, value in _SETTINGS.items()]
        programs.run(account, fresh, "initdb", "-D", str(fresh), *_INITDB_OPTIONS, *settings)
        fresh.rename(self.pgdata)

    def _launch(self, account: Account | None) -> None:
        programs.require_version(self.pgdata)
        folder = shlex.quote(f'"{_socket_folder(self.pgdata, account)}"')
        options = f"-p {_PORT} -c listen_addresses= -c unix_socket_directories={folder}"
        began = time.monotonic()
        _pg_ctl(account, self.pgdata, "start", "-l", str(self.pgdata / programs.LOG_FILE), "-o", options)
        log.info("embedded_postgres.started", seconds=round(time.monotonic() - began, 2))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        descriptor = _open_lock(self._beside(".lock"))
        try:
            _wait_until(lambda: _try_lock(descriptor), "Another process keeps the embedded Postgres busy.")
            yield
        finally:
            os.close(descriptor)

    def _join(self) -> None:
        if self._usage is None:
            self._usage, self._usage_pid = _open_lock(self._beside(".users")), os.getpid()
            fcntl.flock(self._usage, fcntl.LOCK_SH)

    def _beside(self, suffix: str) -> Path:
        return self.pgdata.with_name(self.pgdata.name + suffix)


def _pg_ctl(account: Account | None, pgdata: Path, *arguments: str) -> None:
    programs.run(account, pgdata, "pg_ctl", "-D", str(pgdata), "-w", "-t", str(START_TIMEOUT_S), *arguments)


def _socket_folder(pgdata: Path, account: Account | None) -> Path:
    """The data folder itself, or a fresh folder with an unguessable name.

    The latter where the path is too long for a socket, or has a comma, at which libpq would take it for two hosts.
    """
    if len(os.fsencode(pgdata / f".s.PGSQL.{_PORT}")) <= _LONGEST_SOCKET_PATH and "," not in str(pgdata):
        return pgdata
    folder = Path(tempfile.mkdtemp(prefix="facerec-postgres-"))
    if account:
        os.chown(folder, account.uid, account.gid)
    return folder


def _open_lock(path: Path) -> int:
    """A descriptor to lock by; open for reading, which is enough, so that root's file serves other users too."""
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise StartupError(f"{complaint} Waited {START_TIMEOUT_S} s.")
        time.sleep(0.02)
