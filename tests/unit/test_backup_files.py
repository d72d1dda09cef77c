"""Gallery files, journals, tokens and photos on their way into a backup and back."""

from __future__ import annotations

import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from app.errors import Conflict, StoreUnavailable
from app.services.backup.backup_files import JOURNAL, Places, copy_sqlite, save_galleries, save_photos, save_tokens
from app.services.backup.manifest import FileEntry, Manifest
from app.services.backup.restore_files import restore_galleries, restore_photos, restore_tokens

PKL = "ds_model_dlib_detector_dlib_aligned_normalization_base_expand_0.pkl"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    serbia = tmp_path / "galleries" / "serbia"
    (serbia / "Person 001").mkdir(parents=True)
    (serbia / "Person 001" / "1.png").write_bytes(b"photo")
    (serbia / "flat.jpg").write_bytes(b"flat photo")
    (serbia / PKL).write_bytes(b"pickled")
    (tmp_path / "tokens.json").write_text('{"tokens": []}')
    return Places(tmp_path / "galleries", tmp_path / "tokens.json")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    (tmp_path / "backup").mkdir()
    return tmp_path / "backup"


def manifest_of(backup: Path, photos: dict[str, int] | None = None) -> Manifest:
    files = tuple(FileEntry.of(backup, path) for path in sorted(backup.rglob("*")) if path.is_file())
    return Manifest("2026-03-01T03:00:00+00:00", "test", None, None, photos or {}, files)


def make_journal(path: Path, *notes: str) -> None:
    with closing(sqlite3.connect(path)) as journal:
        journal.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT)")
        journal.executemany("INSERT INTO notes VALUES (?)", [(note,) for note in notes])
        journal.commit()


def notes_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as journal:
        return [note for (note,) in journal.execute("SELECT note FROM notes")]


def test_the_galleries_come_back_as_they_were(places: Places, backup: Path) -> None:
    make_journal(places.journal("serbia"), "added")
    save_galleries(places, backup)
    (places.galleries / "serbia" / PKL).write_bytes(b"spoilt")
    make_journal(places.journal("serbia"), "later")
    assert restore_galleries(backup, manifest_of(backup), places, "NOW") == ["serbia"]
    assert (places.galleries / "serbia" / PKL).read_bytes() == b"pickled"
    assert notes_of(places.journal("serbia")) == ["added"]


def test_what_lay_there_before_is_kept_beside(places: Places, backup: Path) -> None:
    save_galleries(places, backup)
    (places.galleries / "serbia" / PKL).write_bytes(b"of today")
    restore_galleries(backup, manifest_of(backup), places, "NOW")
    assert (places.galleries / "serbia" / f"{PKL}.before-restore-NOW").read_bytes() == b"of today"


def test_a_journal_of_later_is_not_played_onto_an_older_pkl(places: Places, backup: Path) -> None:
    save_galleries(places, backup)
    make_journal(places.journal("serbia"), "later")
    restore_galleries(backup, manifest_of(backup), places, "NOW")
    assert not places.journal("serbia").exists()
    assert notes_of(places.galleries / "serbia" / f"{JOURNAL}.before-restore-NOW") == ["later"]


def test_a_file_that_the_backup_lacks_cannot_outrank_the_restored_one(places: Places, backup: Path) -> None:
    save_galleries(places, backup)
    (places.galleries / "serbia" / "representations_dlib.pkl").write_bytes(b"newer")
    restore_galleries(backup, manifest_of(backup), places, "NOW")
    assert [path.name for path in places.gallery_files("serbia")] == [PKL]


def test_a_pkl_that_lies_elsewhere_goes_back_there(places: Places, backup: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "old.pkl"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"from elsewhere")
    configured = Places(places.galleries, places.tokens, {"slovenia": elsewhere})
    save_galleries(configured, backup)
    elsewhere.unlink()
    restore_galleries(backup, manifest_of(backup), configured, "NOW")
    assert elsewhere.read_bytes() == b"from elsewhere"


def test_a_journal_is_copied_whole_while_a_change_is_under_way(places: Places, tmp_path: Path) -> None:
    make_journal(places.journal("serbia"), "done")
    with closing(sqlite3.connect(places.journal("serbia"))) as writer:
        writer.execute("INSERT INTO notes VALUES ('under way')")
        copy_sqlite(places.journal("serbia"), tmp_path / "copy.sqlite")
    assert notes_of(tmp_path / "copy.sqlite") == ["done"]


def test_a_journal_that_is_none_is_told_by_its_path(places: Places, tmp_path: Path) -> None:
    places.journal("serbia").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable, match="cannot be copied"):
        copy_sqlite(places.journal("serbia"), tmp_path / "copy.sqlite")


def test_photos_come_back_and_later_ones_stay(places: Places, backup: Path) -> None:
    counts = save_photos(places, backup)
    assert counts == {"serbia": 2}
    photo = places.galleries / "serbia" / "Person 001" / "1.png"
    photo.unlink()
    photo.with_name("2.png").write_bytes(b"later")
    assert restore_photos(backup, manifest_of(backup, counts), places) == 2
    assert photo.read_bytes() == b"photo"
    assert photo.with_name("2.png").read_bytes() == b"later"


def test_a_photo_cannot_be_put_outside_its_gallery(places: Places, backup: Path) -> None:
    save_photos(places, backup)
    with tarfile.open(backup / "photos" / "serbia.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../../evil.png"))
    with pytest.raises(Conflict, match="outside its gallery"):
        restore_photos(backup, manifest_of(backup, {"serbia": 1}), places)


def test_restored_tokens_are_for_their_owner_only(places: Places, backup: Path) -> None:
    save_tokens(places, backup)
    places.tokens.write_text("spoilt")
    restore_tokens(backup, places, "NOW")
    assert places.tokens.read_text() == '{"tokens": []}'
    assert stat.S_IMODE(places.tokens.stat().st_mode) == 0o600


def test_every_file_of_a_backup_is_for_its_owner_only(places: Places, backup: Path) -> None:
    make_journal(places.journal("serbia"), "added")
    save_galleries(places, backup)
    save_photos(places, backup)
    save_tokens(places, backup)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in backup.rglob("*")}
    assert set(modes.values()) == {0o600, 0o700}
    assert {PKL, JOURNAL, "serbia.tar", "tokens.json"} <= modes.keys()


def test_hidden_files_and_gallery_files_put_aside_are_no_photos(places: Places) -> None:
    (places.galleries / "serbia" / ".lock").touch()
    (places.galleries / "serbia" / f"{PKL}.before-restore-NOW").touch()
    make_journal(places.journal("serbia"))
    assert [path.name for path in places.photos("serbia")] == ["1.png", "flat.jpg"]
