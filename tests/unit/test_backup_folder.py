"""The folder of backups: whole ones only, one maker at a time, and the last good one is never removed."""

from __future__ import annotations

import errno
import stat
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import Conflict, StoreUnavailable
from app.services.backup.backup_folder import BackupFolder, Retention
from app.services.backup.manifest import FileEntry, Manifest, write_manifest

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)


def fill(backup: Path) -> None:
    (backup / "tokens.json").write_text("{}")
    entry = FileEntry.of(backup, backup / "tokens.json")
    write_manifest(backup, Manifest("2026-03-01T00:00:00+00:00", "test", None, None, {}, (entry,)))


def backups_of_march(folder: BackupFolder, *days: int) -> None:
    for day in days:
        backup = folder.path / f"facerec-202603{day:02d}T030000Z"
        backup.mkdir(parents=True)
        fill(backup)


def days_left(folder: BackupFolder) -> list[int]:
    return sorted(int(path.name[14:16]) for path in folder.path.glob("facerec-*"))


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    return BackupFolder(tmp_path / "backups")


def test_the_newest_are_kept_and_the_others_removed(folder: BackupFolder) -> None:
    backups_of_march(folder, 1, 2, 3, 4, 5)
    removed = folder.rotate(Retention(keep=2), NOW)
    assert days_left(folder) == [4, 5]
    assert len(removed) == 3


def test_what_is_older_than_the_days_is_removed(folder: BackupFolder) -> None:
    backups_of_march(folder, 1, 20, 30)
    folder.rotate(Retention(keep_days=14), NOW)
    assert days_left(folder) == [20, 30]


def test_the_last_backup_stays_however_old_it_is(folder: BackupFolder) -> None:
    backups_of_march(folder, 1)
    assert folder.rotate(Retention(keep=1, keep_days=1), NOW) == []
    assert days_left(folder) == [1]


def test_without_a_retention_nothing_is_removed(folder: BackupFolder) -> None:
    backups_of_march(folder, 1, 2, 3)
    assert folder.rotate(Retention(), NOW) == []


def test_a_damaged_backup_does_not_count_as_the_last_good_one(folder: BackupFolder) -> None:
    backups_of_march(folder, 1, 2, 3)
    (folder.path / "facerec-20260303T030000Z" / "tokens.json").unlink()
    folder.rotate(Retention(keep=1), NOW)
    assert days_left(folder) == [2, 3]


def test_other_folders_are_left_alone(folder: BackupFolder) -> None:
    backups_of_march(folder, 1, 2)
    (folder.path / "facerec-before-the-move").mkdir()
    folder.rotate(Retention(keep=1), NOW)
    assert (folder.path / "facerec-before-the-move").exists()


def test_a_backup_gets_its_name_only_when_it_is_complete(folder: BackupFolder) -> None:
    with folder.locked(), folder.new() as unfinished:
        fill(unfinished)
        assert folder.complete() == []
    assert folder.complete() == [folder.finished(unfinished)]


def test_two_backups_of_one_second_both_stay(folder: BackupFolder) -> None:
    with folder.locked():
        for _ in range(2):
            with folder.new() as unfinished:
                fill(unfinished)
    assert len(folder.complete()) == 2


def test_nobody_else_may_look_into_a_backup(folder: BackupFolder) -> None:
    with folder.locked(), folder.new() as unfinished:
        fill(unfinished)
    (backup,) = folder.complete()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700


def test_a_second_backup_is_refused_while_one_is_made(folder: BackupFolder) -> None:
    with folder.locked(), pytest.raises(Conflict, match="Another backup is being made"), folder.locked():
        pass


def test_a_failed_backup_leaves_nothing_behind(folder: BackupFolder) -> None:
    with pytest.raises(ValueError, match="broken"), folder.locked(), folder.new() as unfinished:
        fill(unfinished)
        raise ValueError("broken")
    assert [path.name for path in folder.path.iterdir()] == [".lock"]


def test_what_a_crashed_run_left_is_removed_by_the_next(folder: BackupFolder) -> None:
    leftover = folder.path / ".unfinished-facerec-20260301T030000Z"
    leftover.mkdir(parents=True)
    (leftover / "database.dump").write_bytes(b"half")
    with folder.locked():
        assert not leftover.exists()


def test_a_disk_that_fills_up_is_told_in_a_sentence_and_nothing_is_kept(folder: BackupFolder) -> None:
    with pytest.raises(StoreUnavailable, match="disk is full") as refusal, folder.locked(), folder.new() as unfinished:
        fill(unfinished)
        raise OSError(errno.ENOSPC, "No space left on device")
    assert refusal.value.error_code == "disk_full"
    assert [path.name for path in folder.path.iterdir()] == [".lock"]


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    folder: BackupFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 9 * 10**8, 10**8)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with folder.locked(), pytest.raises(StoreUnavailable, match=r"needs about 200 MB and .* has 100 MB left"):
        folder.require_room(2 * 10**8)
