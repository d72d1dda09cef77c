"""Which pg_dump is used, and what others can see of it; the programs are stand-ins that note how they were called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.adapters.pg_tools import PgTools
from app.adapters.postgres import Database
from app.errors import StartupError, StoreUnavailable

SECRET = "planted-se'cret"


@dataclass
class FakeConnection:
    server_version: int = 170005

    def get_dsn_parameters(self) -> dict[str, str]:
        return {"host": "db.example", "user": "facerec", "dbname": "face's", "sslmode": "require", "krbsrvname": "x"}

    @property
    def info(self) -> Any:
        return SimpleNamespace(password=SECRET, server_version=self.server_version)

    def close(self) -> None:
        pass


DATABASE = cast(Database, SimpleNamespace(connect=FakeConnection))


def program(folder: Path, version: str, body: str = 'printf "%s\\n" "$@" > "$0.argv"; env > "$0.env"') -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("pg_dump", "pg_restore"):
        path = folder / name
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) {version}" && exit\n{body}\n')
        path.chmod(0o755)
    return folder


def test_the_closest_version_that_is_not_older_than_the_server_is_used(tmp_path: Path) -> None:
    folders = [program(tmp_path / version, version) for version in ("15.18", "18.4", "17.2")]
    assert PgTools(folders).dump(DATABASE, "snapshot", tmp_path / "dump") == "17.2"


def test_the_first_of_equal_versions_is_used(tmp_path: Path) -> None:
    folders = [program(tmp_path / name, "17.2") for name in ("first", "second")]
    PgTools(folders).dump(DATABASE, "snapshot", tmp_path / "dump")
    assert (folders[0] / "pg_dump.argv").exists()


def test_an_older_pg_dump_than_the_server_is_refused_with_both_versions(tmp_path: Path) -> None:
    with pytest.raises(
        StartupError, match=r"Postgres 17 needs a pg_dump of version 17 or newer, and there is 9\.6\.24"
    ):
        PgTools([program(tmp_path / "old", "9.6.24")]).dump(DATABASE, "snapshot", tmp_path / "dump")


def test_no_pg_dump_at_all_is_told_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"there is none: install .*postgresql-client-17"):
        PgTools([tmp_path]).dump(DATABASE, "snapshot", tmp_path / "dump")


def test_a_dump_of_a_newer_version_needs_as_new_a_pg_restore(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="pg_restore of version 18 or newer"):
        PgTools([program(tmp_path / "tools", "17.2")]).restore(DATABASE, tmp_path / "dump", "18.4", clean=False)


def test_the_password_is_in_the_childs_environment_and_not_on_its_command_line(tmp_path: Path) -> None:
    folder = program(tmp_path / "tools", "17.2")
    PgTools([folder]).dump(DATABASE, "snapshot", tmp_path / "dump")
    assert SECRET not in (folder / "pg_dump.argv").read_text()
    assert f"PGPASSWORD={SECRET}" in (folder / "pg_dump.env").read_text()


def test_the_connection_is_the_databases_own_with_its_encryption(tmp_path: Path) -> None:
    folder = program(tmp_path / "tools", "17.2")
    PgTools([folder]).dump(DATABASE, "snapshot", tmp_path / "dump")
    expected = r"--dbname=host='db.example' user='facerec' dbname='face\'s' sslmode='require'"
    assert expected in (folder / "pg_dump.argv").read_text().splitlines()


def test_variables_that_would_redirect_the_program_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere.example")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere.example/")
    folder = program(tmp_path / "tools", "17.2")
    PgTools([folder]).dump(DATABASE, "snapshot", tmp_path / "dump")
    assert "elsewhere" not in (folder / "pg_dump.env").read_text()


def test_a_failure_tells_the_first_complaint_without_the_row_or_the_password(tmp_path: Path) -> None:
    said = f"pg_dump: error: no such thing {SECRET}\nDETAIL:  Key (name)=(Jane Doe) exists."
    folder = program(tmp_path / "tools", "17.2", f'cat >&2 <<"END"\n{said}\nEND\nexit 1')
    with pytest.raises(StoreUnavailable) as failure:
        PgTools([folder]).dump(DATABASE, "snapshot", tmp_path / "dump")
    assert failure.value.message == "pg_dump 17.2 failed and said: pg_dump: error: no such thing …"


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    body = "echo 'pg_dump: error: could not write to output file: No space left on device' >&2; exit 1"
    with pytest.raises(StoreUnavailable, match="disk is full") as failure:
        PgTools([program(tmp_path / "tools", "17.2", body)]).dump(DATABASE, "snapshot", tmp_path / "dump")
    assert failure.value.error_code == "disk_full"
