"""Backup and restore as an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.adapters.embedded_postgres.programs import binaries
from app.adapters.postgres import Database
from app.services.backup.manifest import Manifest
from tests.integration.backup_house import House, old_programs

ROOT = Path(__file__).parents[2]
SECRET = "planted-secret"


@pytest.fixture
def house(migrated_database: Database, tmp_path: Path) -> House:
    made = House(migrated_database, tmp_path / "first")
    made.fill()
    return made


def test_the_commands_back_up_verify_and_restore(house: House, tmp_path: Path) -> None:
    made = command(house, "backup", "--photos", "--json")
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    assert document["manifest"]["database"]["domains"]["serbia"] == {"persons": 20, "embeddings": 60}
    verified = command(house, "restore", document["backup"], "--verify-only")
    assert (verified.returncode, verified.stdout.count("PASS")) == (0, 2)
    restored = command(house, "restore", document["backup"], "--force", "--galleries")
    assert restored.returncode == 0, restored.stderr + restored.stdout
    assert "PKL serbia" in restored.stdout
    assert "FAIL" not in restored.stdout


def test_a_refusal_is_one_sentence_and_an_exit_code(house: House) -> None:
    backup = house.back_up().path
    refused = command(house, "restore", str(backup))
    assert refused.returncode == 1
    assert refused.stderr.startswith("Not restored: The database is not empty")
    assert len(refused.stderr.splitlines()) == 1


def test_rotation_keeps_the_newest(house: House) -> None:
    first, second = house.back_up().path, house.back_up().path
    third = command(house, "backup", "--keep", "2", "--json")
    assert json.loads(third.stdout)["removed"] == [first.name]
    assert len(house.backups.complete()) == 2
    assert second in house.backups.complete()


def test_the_password_shows_in_no_process_list_and_no_output(house: House, tmp_path: Path) -> None:
    """pg_dump is a stand-in that writes down the command line of every process, and then does its work."""
    spy = tmp_path / "spy" / "pg_dump"
    spy.parent.mkdir()
    spy.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || cat /proc/[0-9]*/cmdline > {tmp_path}/processes 2>/dev/null\n'
        f'exec {binaries()}/pg_dump "$@"\n'
    )
    spy.chmod(0o755)
    made = command(house, "backup", path=spy.parent)
    assert made.returncode == 0, made.stderr
    processes = (tmp_path / "processes").read_bytes()
    assert b"pg_dump" in processes
    assert SECRET.encode() not in processes
    everything = (
        made.stdout.encode() + made.stderr.encode() + (house.backups.complete()[0] / "manifest.json").read_bytes()
    )
    assert SECRET.encode() not in everything


def test_an_old_pg_dump_in_the_path_is_passed_over(house: House, tmp_path: Path) -> None:
    made = command(house, "backup", path=old_programs(tmp_path / "old"))
    assert made.returncode == 0, made.stderr
    assert Manifest.read(house.backups.complete()[0]).pg_dump != "9.6.24"


def test_a_password_on_the_command_line_is_refused(house: House) -> None:
    refused = command(house, "restore", "facerec-x", "--into", f"postgresql://u:{SECRET}@db.example/faces")
    assert refused.returncode == 1
    assert "Leave the password out of --into" in refused.stderr
    assert SECRET not in refused.stderr


def test_a_database_that_is_down_leaves_no_backup(house: House, tmp_path: Path) -> None:
    failed = command(house, "backup", DATABASE_URL=f"postgresql://postgres@/postgres?host={tmp_path}")
    assert failed.returncode == 1
    assert failed.stderr == "No backup was made: Cannot connect to the database: nothing listens there.\n"
    assert house.backups.complete() == []


def test_a_backup_that_is_stopped_leaves_nothing_behind(house: House, tmp_path: Path) -> None:
    sleeper = tmp_path / "sleeper" / "pg_dump"
    sleeper.parent.mkdir()
    sleeper.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {binaries()}/pg_dump --version\n'
        f"touch {tmp_path}/begun\nexec sleep 60\n"
    )
    sleeper.chmod(0o755)
    backup = subprocess.Popen(
        [sys.executable, "-m", "scripts.backup"],
        cwd=ROOT,
        env=environment_of(house, sleeper.parent),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "begun").exists():
        assert backup.poll() is None
        time.sleep(0.05)
    backup.terminate()
    _, said = backup.communicate()
    assert (backup.returncode, said) == (1, "Interrupted: no backup was made.\n")
    assert [path.name for path in house.backups.path.iterdir()] == [".lock"]


def command(
    house: House, script: str, *arguments: str, path: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a script on the house, with a password in its environment."""
    return subprocess.run(
        [sys.executable, "-m", f"scripts.{script}", *arguments],
        cwd=ROOT,
        env=environment_of(house, path) | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def environment_of(house: House, path: Path | None) -> dict[str, str]:
    return {
        "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
        "STORAGE_DIR": str(house.folder),
        "DATABASE_URL": url_with_password(house.database),
        "COLUMNS": "200",
    }


def url_with_password(database: Database) -> str:
    connection = database.connect()
    known = connection.get_dsn_parameters()
    connection.close()
    return f"postgresql://postgres:{SECRET}@/{known['dbname']}?host={known['host']}&port={known['port']}"
