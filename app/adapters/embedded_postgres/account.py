"""Whom the embedded Postgres runs as, and how that account reaches its files: Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.errors import StartupError

ACCOUNT_NAME = "facerec-postgres"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """The account that root runs the server as."""

    uid: int
    gid: int


def account_for(pgdata: Path) -> Account | None:
    """The account to change to before a program of Postgres is run on `pgdata`; None for this process's own.

    Root takes the folder's owner, and for a new folder the system account `facerec-postgres`, made where missing.

    :raises StartupError: the folder belongs to another user, or the account cannot be made.
    """
    owner = pgdata.stat() if pgdata.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise StartupError(
                f"{pgdata} belongs to {_user_name(owner.st_uid)}: start the service as that user, as root, "
                "or with another STORAGE_DIR."
            )
        return None
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    return _system_account()


def open_passage(path: Path, account: Account) -> None:
    """Let `account` pass through the parents of `path`; each folder that had to be opened is named in a warning.

    Others get the right to enter such a folder, not to list it.
    """
    for folder in path.parents:
        status = folder.stat()
        if not _may_enter(status, account):
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
            log.warning(
                "embedded_postgres.folder_opened",
                folder=str(folder),
                reason=f"{ACCOUNT_NAME} has to pass through it; to keep it closed, run the service as an ordinary user",
            )


def _may_enter(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _system_account() -> Account:
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        _make_account()
        entry = pwd.getpwnam(ACCOUNT_NAME)
    return Account(entry.pw_uid, entry.pw_gid)


def _make_account() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT_NAME]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise StartupError(
            f"Postgres does not run as root, and the system account {ACCOUNT_NAME} could not be made. "
            "Run the service as an ordinary user, or set DATABASE_URL."
        ) from exc
    log.info("embedded_postgres.account_made", account=ACCOUNT_NAME)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
