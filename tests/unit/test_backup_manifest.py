"""A backup that was changed by a single byte is found out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from app.errors import BadRequest, Conflict
from app.services.backup.manifest import (
    DatabaseFacts,
    DomainCount,
    FileEntry,
    Manifest,
    is_whole,
    verified,
    write_manifest,
)

FACTS = DatabaseFacts("18.4", "0.8.5", "0002", {"persons": 3}, 1, {"serbia": DomainCount(3, 9)}, ({"model": "Dlib"},))
FILES = ("database.dump", "tokens.json", "galleries/serbia/gallery.pkl")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / "facerec-20260301T030000Z"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 100)
    entries = tuple(FileEntry.of(folder, folder / name) for name in FILES)
    write_manifest(folder, Manifest("2026-03-01T03:00:00+00:00", "test", FACTS, "18.4", {}, entries))
    return folder


def test_an_untouched_backup_is_read_as_it_was_written(backup: Path) -> None:
    manifest = verified(backup)
    assert manifest.database == FACTS
    assert [entry.path for entry in manifest.files] == list(FILES)


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "SHA256SUMS"])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_byte_in_any_file_is_found(backup: Path, name: str, place: float) -> None:
    content = bytearray((backup / name).read_bytes())
    content[int(place * len(content)) if place >= 0 else -1] ^= 1
    (backup / name).write_bytes(content)
    with pytest.raises((Conflict, BadRequest)):
        verified(backup)


@pytest.mark.parametrize("name", FILES)
def test_the_damaged_file_is_named(backup: Path, name: str) -> None:
    (backup / name).write_bytes((backup / name).read_bytes()[:-1])
    with pytest.raises(Conflict, match=f"{name} has [0-9]+ bytes instead of"):
        verified(backup)
    assert not is_whole(backup)


def test_a_missing_file_is_named(backup: Path) -> None:
    (backup / "database.dump").unlink()
    with pytest.raises(Conflict, match=r"database\.dump is missing"):
        verified(backup)
    assert not is_whole(backup)


def test_every_damage_is_told_at_once(backup: Path) -> None:
    for name in FILES:
        (backup / name).write_bytes(b"")
    with pytest.raises(Conflict) as refusal:
        verified(backup)
    assert len(refusal.value.details["faults"]) == 3


def test_sha256sum_alone_can_check_a_backup(backup: Path) -> None:
    said = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=backup, capture_output=True, text=True, check=True)
    assert said.stdout.count(": OK") == len(FILES) + 1


def test_a_folder_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="is not a complete backup"):
        verified(tmp_path)


def test_a_backup_of_a_newer_format_is_not_guessed_at(backup: Path) -> None:
    document = json.loads((backup / "manifest.json").read_bytes())
    (backup / "manifest.json").write_text(json.dumps(document | {"format": 2}))
    with pytest.raises(BadRequest, match="has format 2, and this version reads format 1"):
        verified(backup)


def test_a_manifest_cannot_point_outside_its_backup(backup: Path) -> None:
    (backup.parent / "outside").write_text("x")
    outside = FileEntry("../outside", 1, "0" * 64)
    write_manifest(backup, Manifest("2026-03-01T03:00:00+00:00", "test", None, None, {}, (outside,)))
    with pytest.raises(Conflict, match="lies outside the backup"):
        verified(backup)
