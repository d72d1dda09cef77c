"""Runs pg_dump and pg_restore, of a version that fits the server.

The password reaches them in the environment of the child (PGPASSWORD), which other users of the machine cannot read;
a command line they can.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import AppError, StartupError, StoreUnavailable

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_PRIVATE = 0o077  # as umask: what these programs write is biometric
_LONGEST_COMPLAINT = 300
_QUESTION_S = 30.0
_VECTOR = "vector"
# Of a connection's parameters, those that the oldest pg_dump in use knows; what is left out are the driver's own.
_PASSED_ON = (
    "host", "hostaddr", "port", "user", "dbname", "options", "sslmode", "sslrootcert", "sslcert", "sslkey",
)  # fmt: skip
# Owners, rights and comments are the old server's business; a role that may not set them can still restore.
_PORTABLE = ("--no-owner", "--no-privileges", "--no-comments")
_INSTALL = "install the client of that version (Debian: postgresql-client-{major}), or put it first in the PATH"


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of Postgres, e.g. pg_dump 18.4."""

    path: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a program connects to: what may stand on a command line, and what may not."""

    conninfo: str
    password: str
    server_major: int


class PgTools:
    """pg_dump and pg_restore from the first folders that have fitting ones.

    :param folders: where to look, in this order; a folder without the programs is passed over.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def dump(self, database: Database, snapshot: str, to: Path) -> str:
        """Write the whole database to `to` in the custom format, compressed, as of an exported snapshot.

        :param snapshot: what `pg_export_snapshot()` gave, in a transaction that is still open.
        :return: the version of pg_dump.
        :raises StartupError: no pg_dump is as new as the server.
        :raises StoreUnavailable: it failed, code `disk_full` where the disk is full.
        """
        target = _target(database)
        tool = self._tool("pg_dump", target.server_major)
        options = ("--format=custom", f"--snapshot={snapshot}", *_PORTABLE, f"--file={to}")
        _run(tool, (*options, f"--dbname={target.conninfo}"), target.password)
        return tool.version

    def restore(self, database: Database, dump: Path, made_by: str, clean: bool) -> None:
        """Put a dump into a database, all of it or nothing: one transaction, which ends at the first error.

        :param made_by: the version of the pg_dump that wrote it.
        :param clean: first drop what the dump holds; needed where any of it exists.
        :raises StartupError: no pg_restore is as new as the server and the dump.
        :raises StoreUnavailable: it failed; the database is as it was.
        """
        target, dumped_by = _target(database), _major(made_by)
        tool = self._tool("pg_restore", max(target.server_major, dumped_by))
        options = ["--single-transaction", "--exit-on-error", *_PORTABLE]
        options += ["--clean", "--if-exists"] if clean else []
        present = _VECTOR in _extensions(database)
        with tempfile.NamedTemporaryFile("w", prefix="facerec-restore-") as wanted:
            # A server that has the extension may not let us drop it, and nothing would be gained.
            kept = (line for line in _contents(tool, dump) if not (present and f" EXTENSION - {_VECTOR}" in line))
            wanted.writelines(f"{line}\n" for line in kept)
            wanted.flush()
            arguments = (*options, f"--use-list={wanted.name}", f"--dbname={target.conninfo}", str(dump))
            _run(tool, arguments, target.password)

    def contents(self, dump: Path, made_by: str) -> list[str]:
        """What a dump holds, by `pg_restore --list`: one line for each table, index and so on; needs no server.

        :raises StoreUnavailable: it is not a whole dump.
        :raises StartupError: no pg_restore is as new as the pg_dump that wrote it.
        """
        return _contents(self._tool("pg_restore", _major(made_by)), dump)

    def _tool(self, name: str, at_least: int) -> Tool:
        """The oldest that is new enough: a newer one may write what the server does not understand."""
        found = list(_found(name, self._folders))
        fitting = [tool for tool in found if tool.major >= at_least]
        if not fitting:
            seen = ", ".join(dict.fromkeys(tool.version for tool in found)) or "none"
            raise StartupError(
                f"Postgres {at_least} needs a {name} of version {at_least} or newer, and there is {seen}: "
                f"{_INSTALL.format(major=at_least)}.",
                code="pg_tools_too_old",
            )
        return min(fitting, key=lambda tool: tool.major)


def _found(name: str, folders: Iterable[Path]) -> Iterable[Tool]:
    for folder in folders:
        path = shutil.which(name, path=str(folder))
        if path is None:
            continue
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, env=_environment(""))
        version = re.search(r"\) (\d+[\d.]*)", said.stdout)
        if version:
            yield Tool(Path(path), version[1])


def _target(database: Database) -> _Target:
    """Asked of a live connection, which knows what a URL, a service file and a password file came to."""
    connection = database.connect()
    try:
        known = connection.get_dsn_parameters()
        conninfo = " ".join(f"{name}={_quoted(known[name])}" for name in _PASSED_ON if known.get(name))
        return _Target(conninfo, connection.info.password or "", connection.info.server_version // 10000)
    finally:
        connection.close()


def _extensions(database: Database) -> set[str]:
    with database.transaction(_QUESTION_S, read_only=True) as cursor:
        cursor.execute("SELECT extname FROM pg_extension")
        return {name for (name,) in cursor.fetchall()}


def _contents(tool: Tool, dump: Path) -> list[str]:
    return [line for line in _run(tool, ("--list", str(dump)), "").splitlines() if line and not line.startswith(";")]


def _run(tool: Tool, arguments: Sequence[str], password: str) -> str:
    done = subprocess.run(
        [str(tool.path), *arguments],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=_environment(password),
        umask=_PRIVATE,
    )
    if done.returncode:
        raise _failure(tool, done.stderr.decode(errors="replace"), password)
    return done.stdout.decode(errors="replace")


def _environment(password: str) -> dict[str, str]:
    """Bare: the caller's PGHOST and the like would redirect a program, its DATABASE_URL is nobody's business."""
    return {"LC_ALL": "C", "PATH": os.defpath} | ({"PGPASSWORD": password} if password else {})


def _failure(tool: Tool, said: str, password: str) -> AppError:
    """Only the first complaint is passed on: lines after it quote the row at fault, which is somebody's name."""
    complaints = [line for line in said.splitlines() if "error:" in line] or said.splitlines() or ["nothing"]
    complaint = complaints[0].strip()[:_LONGEST_COMPLAINT]
    if password:
        complaint = complaint.replace(password, "…")
    if "No space left" in said:
        return StoreUnavailable("The disk is full. Nothing was kept; make room and try again.", code="disk_full")
    return StoreUnavailable(f"{tool.path.name} {tool.version} failed and said: {complaint}", code="pg_tools_failed")


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _major(version: str) -> int:
    return int(version.partition(".")[0])
