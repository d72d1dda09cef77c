"""The journal beside a PKL: what readers see of a change, step by step, and what is left of what was removed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from app.adapters.pkl.journal import JournalReader, PklJournal
from app.domain import FaceBox, GalleryFace
from app.errors import StoreUnavailable
from app.gallery_change import FileMove, GalleryChange
from app.gallery_view import image_key

D = 8
VECTOR = np.linspace(0.1, 0.9, D)


def face(person: str, image: str = "1.jpg") -> GalleryFace:
    return GalleryFace(person, f"{person}/{image}", FaceBox(1, 2, 3, 4), VECTOR, "0" * 64)


def change(*faces: GalleryFace, removed: tuple[str, ...] = ()) -> GalleryChange:
    return GalleryChange("serbia", removed=removed, faces=faces, moves=(FileMove("a", "b"), FileMove("c", None)))


def carried_out(journal: PklJournal, made: GalleryChange) -> None:
    journal.stage(made)
    journal.activate(made.id)
    journal.finish(made.id)


def people(journal: PklJournal) -> list[str]:
    matrix = journal.read().overlay.matrix
    return [] if matrix is None else [matrix.face(row).person for row in range(len(matrix))]


@pytest.fixture
def journal(tmp_path: Path) -> PklJournal:
    return PklJournal(tmp_path / "serbia" / ".journal.sqlite")


def test_a_journal_that_was_never_written_is_empty_and_is_not_made_by_reading(journal: PklJournal) -> None:
    assert (people(journal), journal.unsettled(), journal.prune(0)) == ([], [], 0)
    assert not journal.path.exists()


def test_a_staged_change_counts_only_once_it_is_activated(journal: PklJournal) -> None:
    made = change(face("Ana"))
    journal.stage(made)
    assert (people(journal), journal.read().is_settled) == ([], False)
    journal.activate(made.id)
    assert (people(journal), journal.read().is_settled) == (["Ana"], False)
    journal.finish(made.id)
    assert (people(journal), journal.read().is_settled) == (["Ana"], True)


def test_a_staged_change_that_never_happened_leaves_nothing(journal: PklJournal) -> None:
    carried_out(journal, change(face("Ana")))
    dropped = change(face("Bojan"), removed=("Ana/1.jpg",))
    journal.stage(dropped)
    journal.finish(dropped.id)
    assert people(journal) == ["Ana"]
    assert b"Bojan" not in journal.path.read_bytes()


def test_what_is_to_be_done_to_files_is_told_until_the_change_is_finished(journal: PklJournal) -> None:
    made = change(face("Ana"))
    journal.stage(made)
    ((waiting,),) = [journal.unsettled()]
    assert (waiting.id, waiting.moves, waiting.forget) == (made.id, made.moves, False)


def test_activating_twice_changes_nothing(journal: PklJournal) -> None:
    made = change(face("Ana"), face("Bojan"))
    journal.stage(made)
    journal.activate(made.id)
    journal.activate(made.id)
    assert people(journal) == ["Ana", "Bojan"]


def test_the_last_change_of_an_image_stands_alone(journal: PklJournal) -> None:
    carried_out(journal, change(face("Ana")))
    carried_out(journal, change(face("Ana"), face("Ana")))
    carried_out(journal, change(removed=("Ana/1.jpg",)))
    state = journal.read()
    assert (people(journal), state.overlay.keys.tolist()) == ([], [image_key("Ana/1.jpg")])


def test_a_removed_image_leaves_neither_name_nor_vector_in_the_file(journal: PklJournal) -> None:
    carried_out(journal, change(face("Ana")))
    assert b"Ana" in journal.path.read_bytes()
    carried_out(journal, change(removed=("Ana/1.jpg",)))
    content = journal.path.read_bytes()
    assert b"Ana" not in content
    assert VECTOR.tobytes() not in content


def test_vectors_boxes_and_names_of_every_script_come_back_as_they_were(journal: PklJournal) -> None:
    given = GalleryFace("Đorđe O'Brien", "Đorđe O'Brien/a b.jpg", FaceBox(1, 2, 30, 40), VECTOR)
    carried_out(journal, change(given))
    matrix = journal.read().overlay.matrix
    assert matrix is not None
    read = matrix.face(0)
    assert (read.person, read.image, read.box) == (given.person, given.image, given.box)
    assert np.array_equal(read.embedding, VECTOR)


def test_a_reader_hears_of_each_change_once(journal: PklJournal) -> None:
    reader = JournalReader(journal.path)
    assert reader.changed() is None
    carried_out(journal, change(face("Ana")))
    changed = reader.changed()
    assert changed is not None
    assert changed.overlay.keys.tolist() == [image_key("Ana/1.jpg")]
    assert reader.changed() is None
    reader.close()


def test_a_reader_notices_that_the_file_is_another_one_or_gone(journal: PklJournal, tmp_path: Path) -> None:
    other = PklJournal(tmp_path / "other.sqlite")
    carried_out(journal, change(face("Ana")))
    carried_out(other, change(face("Bojan"), face("Ceca")))
    reader = JournalReader(journal.path)
    reader.changed()
    other.path.replace(journal.path)
    restored = reader.changed()
    assert restored is not None
    assert len(restored.overlay.keys) == 2
    journal.path.unlink()
    gone = reader.changed()
    assert gone is not None
    assert len(gone.overlay.keys) == 0
    assert reader.changed() is None
    reader.close()


def test_only_what_was_folded_long_enough_ago_is_pruned(journal: PklJournal) -> None:
    carried_out(journal, change(face("Ana")))
    folded = journal.read().last_seq
    carried_out(journal, change(face("Bojan")))
    journal.mark_folded(folded)
    assert journal.prune(older_than_s=60) == 0
    assert journal.prune(older_than_s=-1) == 1
    assert people(journal) == ["Bojan"]


def test_nobody_else_may_read_it(journal: PklJournal) -> None:
    carried_out(journal, change(face("Ana")))
    assert journal.path.stat().st_mode & 0o777 == 0o640


def test_a_damaged_journal_is_refused_and_not_taken_for_an_empty_one(journal: PklJournal) -> None:
    journal.path.parent.mkdir()
    journal.path.write_bytes(b"this is no database" * 100)
    for ask in (journal.read, journal.unsettled, JournalReader(journal.path).changed):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        assert caught.value.error_code == "journal_unavailable"


def test_a_change_that_cannot_be_written_whole_is_not_written_at_all(
    journal: PklJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out(journal, change(face("Ana")))

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("app.adapters.pkl.journal._add_entry", fail)
    with pytest.raises(StoreUnavailable):
        journal.stage(change(face("Bojan")))
    assert (people(journal), journal.unsettled()) == (["Ana"], [])
