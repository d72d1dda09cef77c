"""What becomes of persons in the database, the PKL, its journal and the photo files, with made-up faces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.gallery_files import GalleryFiles
from app.adapters.pkl.journal import PklJournal
from app.adapters.pkl.live import LivePklGalleries
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.reader import read_pkl
from app.adapters.postgres import Database
from app.domain import person_key
from app.errors import AppError, BadRequest, Conflict, NotFound, StoreUnavailable
from app.services.people.person_records import PersonQuery, Scope
from tests.integration.people_world import DOMAIN, SCOPE, SPEC, World, axis, enrolled, length, photo


@pytest.fixture
def world(tmp_path: Path, migrated_database: Database) -> Iterator[World]:
    """Ana and Bojan, in both galleries."""
    world = World(tmp_path, migrated_database)
    world.fill(enrolled("Ana", 0), enrolled("Ana", 1, "2.jpg"), enrolled("Bojan", 2))
    yield world
    world.live.close()


@pytest.fixture
def worker(world: World) -> Iterator[World]:
    """Another worker over the same storage, which has looked at the galleries before anything changes."""
    other = World(world.storage, world.database)
    other.who(0)
    yield other
    other.live.close()


def test_a_person_added_by_one_worker_is_found_by_another_at_once(world: World, worker: World) -> None:
    added = world.persons.add(SCOPE, "  Ceca   Cecić ", [photo(5), photo(6)])
    assert (added.name, added.faces) == ("Ceca Cecić", 2)
    image = photo(5).image_of("Ceca Cecić")
    assert worker.who(5) == world.who(5) == ("Ceca Cecić", image)
    assert (world.folder / image).read_bytes() == photo(5).content
    assert not (world.folder / ".changes").exists()


def test_everything_that_can_be_done_to_a_person_shows_in_both_galleries(world: World, worker: World) -> None:
    ana, bojan = world.id_of("Ana"), world.id_of("Bojan")
    world.persons.rename(SCOPE, ana, "Anna")
    assert worker.who(0) == ("Anna", "Anna/1.jpg")
    face = world.persons.show(DOMAIN, ana)[1][1]
    world.persons.move_photo(SCOPE, ana, face.id, bojan)
    assert worker.who(1) == ("Bojan", "Bojan/2.jpg")
    world.persons.add_photos(SCOPE, bojan, [photo(7)])
    assert worker.who(7) == ("Bojan", photo(7).image_of("Bojan"))
    added = next(f for f in world.persons.show(DOMAIN, bojan)[1] if f.image_sha256 == photo(7).sha256)
    world.persons.remove_photo(SCOPE, bojan, added.id)
    assert worker.who(7) is None
    assert world.files() == {"Anna/1.jpg", "Bojan/1.jpg", "Bojan/2.jpg"}
    assert (world.folder / "Bojan/2.jpg").read_bytes() == b"Ana/2.jpg"


def test_a_merge_takes_all_photos_along_and_its_undo_brings_them_back(world: World, worker: World) -> None:
    ana, bojan = world.id_of("Ana"), world.id_of("Bojan")
    merge = world.merging.merge(SCOPE, ana, bojan)
    assert merge.photos == 2
    person, image = worker.who(0) or ("", "")
    assert person == "Bojan"
    assert image != "Bojan/1.jpg", "Bojan's own photo of that name is kept"
    assert worker.who(2) == ("Bojan", "Bojan/1.jpg")
    with pytest.raises(NotFound):
        world.persons.show(DOMAIN, ana)
    world.persons.rename(SCOPE, bojan, "Boki")
    back = world.merging.undo(SCOPE, merge.id)
    assert (back.name, back.faces) == ("Ana", 2)
    assert worker.who(0) == ("Ana", "Ana/1.jpg")
    assert worker.who(2) == ("Boki", "Boki/1.jpg")
    assert world.files() == {"Ana/1.jpg", "Ana/2.jpg", "Boki/1.jpg"}
    with pytest.raises(NotFound):
        world.merging.undo(SCOPE, merge.id)


def test_folding_changes_no_answer_and_makes_a_file_that_needs_no_journal(world: World, worker: World) -> None:
    world.persons.add(SCOPE, "Ceca", [photo(5)])
    world.persons.rename(SCOPE, world.id_of("Ana"), "Anna")
    before = [world.who(i) for i in range(8)]
    report = world.live.fold(DOMAIN)
    assert (report.before, report.rows) == (3, 4)
    assert [worker.who(i) for i in range(8)] == before == [world.who(i) for i in range(8)]
    world.live.journal(DOMAIN).path.unlink()
    fresh = World(world.storage, world.database)
    assert [fresh.who(i) for i in range(8)] == before
    fresh.live.close()


def test_entries_stay_in_the_journal_for_a_day_after_they_were_folded(world: World) -> None:
    world.persons.add(SCOPE, "Ceca", [photo(5)])
    world.live.fold(DOMAIN)
    journal = world.live.journal(DOMAIN)
    assert (journal.prune(3600), len(journal.read().overlay.keys)) == (0, 1)
    with sqlite3.connect(journal.path) as connection:
        connection.execute("UPDATE entries SET folded_at = folded_at - 90000")
    connection.close()
    assert world.live.fold(DOMAIN).pruned == 1
    assert world.who(5) is not None


def test_a_gallery_whose_last_person_goes_is_empty_and_not_broken(world: World, worker: World) -> None:
    for name in ("Ana", "Bojan"):
        world.deletion.delete(SCOPE, world.id_of(name))
    assert len(read_pkl(world.folder / pkl_names(SPEC)[0], SPEC).identities) == 0
    assert [len(w.pkl.search(DOMAIN, axis(0)[np.newaxis])[0]) for w in (world, worker)] == [0, 0]


def test_names_and_photos_that_contradict_what_is_there_are_refused_and_leave_nothing(world: World) -> None:
    ana, bojan = world.id_of("Ana"), world.id_of("Bojan")
    refused: list[tuple[str, Callable[[], Any]]] = [
        ("name_taken", lambda: world.persons.add(SCOPE, "Ana", [photo(9)])),
        ("name_taken", lambda: world.persons.rename(SCOPE, ana, "Bojan")),
        ("looks_like_another", lambda: world.persons.add(SCOPE, "Ceca", [photo(9), photo(0)])),
        ("invalid_name", lambda: world.persons.add(SCOPE, "../Ceca", [photo(9)])),
        ("invalid_name", lambda: world.persons.add(SCOPE, "..", [photo(9)])),
        ("images_missing", lambda: world.persons.add(SCOPE, "Ceca", [])),
        ("photo_repeated", lambda: world.persons.add(SCOPE, "Ceca", [photo(9), photo(9)])),
        ("same_person", lambda: world.merging.merge(SCOPE, ana, ana)),
        ("person_unknown", lambda: world.deletion.delete(Scope("slovenia", "t"), bojan)),
        ("face_unknown", lambda: world.persons.remove_photo(SCOPE, ana, 10**6)),
        ("merge_unknown", lambda: world.merging.undo(SCOPE, 10**6)),
    ]
    for code, ask in refused:
        with pytest.raises((BadRequest, Conflict, NotFound)) as caught:
            ask()
        assert caught.value.error_code == code
    assert world.files() == {"Ana/1.jpg", "Ana/2.jpg", "Bojan/1.jpg"}
    assert world.persons.page(DOMAIN, PersonQuery()).total == 2
    assert not (world.folder / ".changes").exists()


def test_a_likeness_is_told_by_name_and_can_be_overruled(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        world.persons.add(SCOPE, "Ceca", [photo(0)])
    assert caught.value.details == {"photo": 1, "person": "Ana", "distance": 0.0}
    assert "Ana" not in caught.value.message
    assert world.persons.add(SCOPE, "Ceca", [photo(0)], force=True).faces == 1


def test_search_takes_wildcards_for_what_they_are(world: World) -> None:
    world.persons.add(SCOPE, "100% Ceca_", [photo(5)])
    found = [
        [person.name for person in world.persons.page(DOMAIN, PersonQuery(search=text)).persons]
        for text in ("%", "_", "CECA", "an", "\\")
    ]
    assert found == [["100% Ceca_"], ["100% Ceca_"], ["100% Ceca_"], ["Ana", "Bojan"], []]
    page = world.persons.page(DOMAIN, PersonQuery(limit=1, offset=1))
    assert ([person.name for person in page.persons], page.total) == (["Ana"], 3)


def everything(world: World) -> bytes:
    """Every row of every table, and every file of the storage folder with its path."""
    with world.database.transaction(10, read_only=True) as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        tables = [name for (name,) in cursor.fetchall()]
        rows = []
        for table in tables:
            cursor.execute(f"SELECT t::text FROM {table} AS t")
            rows += [row for (row,) in cursor.fetchall()]
    files = [f"{path}".encode() + path.read_bytes() for path in world.storage.rglob("*") if path.is_file()]
    return "\n".join(rows).encode() + b"\n".join(files)


def traces(world: World, name: str, i: int) -> list[str]:
    wanted = {
        "name": name.encode(),
        "pseudonym": str(person_key(DOMAIN, name)).encode(),
        "photo": b"photo of %d" % i,
        "vector64": axis(i).tobytes(),
        "vector32": axis(i).astype(np.float32).tobytes(),
        "vector in a pickle": struct.pack(">d", length(i)),
        "vector as text": str(axis(i).astype(np.float32).tolist()).replace(" ", "").encode(),
    }
    held = everything(world)
    return [what for what, trace in wanted.items() if trace in held]


def test_nothing_of_a_deleted_person_is_left_in_any_table_or_file(world: World, worker: World) -> None:
    logs = world.storage / "logs"
    logs.mkdir()
    (logs / "facerec.log").write_text(f'{{"pkl_top1": "{person_key(DOMAIN, "Zorka")}"}}\n' * 2)
    zorka = world.persons.add(SCOPE, "Zorka", [photo(5)])
    world.live.fold(DOMAIN)
    merged = world.persons.add(SCOPE, "Zorka Z.", [photo(6)])
    world.merging.merge(SCOPE, merged.id, zorka.id)
    (world.folder / "Zorka" / "never embedded.jpg").write_bytes(b"photo of 5")
    for pkl in list(world.folder.glob("*.pkl")):  # as an export and a restore keep what they replace
        shutil.copy(pkl, pkl.with_name(f"{pkl.name}.20261120T101112.000000Z.bak"))
        shutil.copy(pkl, pkl.with_name(f"{pkl.name}.before-restore-20261120T101112Z"))
    assert len(traces(world, "Zorka", 5)) >= 6, "the search finds what is there"
    receipt = world.deletion.delete(SCOPE, zorka.id)
    assert traces(world, "Zorka", 5) == []
    assert traces(world, "Zorka", 6) == []
    assert receipt.completed_at is not None
    assert receipt.counts == {
        "photos": 3,
        "pkl_rows": 0,
        "journal_faces": 2,
        "persons": 1,
        "database_faces": 2,
        "processed_images": 0,
        "merges": 1,
        "comparisons": 0,
        "video_identities": 0,
        "log_references": 2,
        "set_aside_galleries": 2,
    }
    assert (worker.who(5), worker.who(6)) == (None, None)
    assert worker.who(0) == ("Ana", "Ana/1.jpg")


def test_receipts_and_the_audit_log_tell_what_was_done_and_hold_no_name(world: World) -> None:
    receipt = world.deletion.delete(SCOPE, world.id_of("Ana"))
    with world.database.transaction(5) as cursor:
        cursor.execute("SELECT id::text, domain, actor, counts, completed_at IS NOT NULL FROM deletion_receipts")
        assert cursor.fetchall() == [(receipt.receipt_id, DOMAIN, "t_test", receipt.counts, True)]
        cursor.execute("SELECT actor, action, subject FROM audit_log")
        assert cursor.fetchall() == [("t_test", "person.deleted", f"person {receipt.person_id}")]
    assert "Ana" not in json.dumps(receipt.to_json())


def test_a_deletion_that_cannot_rewrite_the_pkl_is_completed_by_the_next_change(
    world: World, worker: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(LivePklGalleries, "fold", full_disk)
        receipt = world.deletion.delete(SCOPE, world.id_of("Ana"))
    assert receipt.completed_at is None
    assert (worker.who(0), worker.who(2)) == (None, ("Bojan", "Bojan/1.jpg"))
    worker.persons.add(SCOPE, "Ceca", [photo(5)])
    with world.database.transaction(5) as cursor:
        cursor.execute("SELECT completed_at IS NOT NULL FROM deletion_receipts")
        assert cursor.fetchall() == [(True,)]
    assert read_pkl(world.folder / pkl_names(SPEC)[0], SPEC).identities == [str(world.folder / "Bojan/1.jpg")]


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
def test_the_audit_log_can_only_grow(world: World, statement: str) -> None:
    world.persons.add(SCOPE, "Ceca", [photo(5)])
    with pytest.raises(AppError), world.database.transaction(5) as cursor:
        cursor.execute(statement)


class Died(BaseException):
    """Stands for a process that ends at this point."""


@pytest.mark.parametrize(
    ("step", "happened"),
    [("stage", False), ("activate", True), ("apply", True), ("finish", True)],
)
def test_a_process_that_dies_between_two_steps_leaves_all_or_nothing(
    world: World, worker: World, monkeypatch: pytest.MonkeyPatch, step: str, happened: bool
) -> None:
    """In a child, because a process that dies runs no handler and holds no lock."""
    child = os.fork()
    if child == 0:
        doomed = World(world.storage, Database(world.database._url))
        owner = GalleryFiles if step == "apply" else PklJournal
        original = getattr(owner, step)

        def die(*arguments: Any) -> None:
            if step == "stage":
                original(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, step, die)
        try:
            doomed.persons.add(SCOPE, "Ceca", [photo(5)])
        finally:
            os._exit(1)  # never back into pytest
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    worker.changes.settle(DOMAIN)
    expected = ("Ceca", photo(5).image_of("Ceca")) if happened else None
    assert worker.who(5) == world.who(5) == expected
    assert (photo(5).image_of("Ceca") in world.files()) is happened
    assert not (world.folder / ".changes").exists()
    assert world.live.journal(DOMAIN).unsettled() == []


def full_disk(*_: object) -> None:
    raise StoreUnavailable("The journal cannot be used: disk full.", code="journal_unavailable")


def test_a_reader_that_meets_a_dead_writers_change_has_it_settled(
    world: World, worker: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(StoreUnavailable):
        patched.setattr(PklJournal, "activate", full_disk)
        world.persons.add(SCOPE, "Ceca", [photo(5)])
    deadline = time.monotonic() + 20
    while not worker.pkl.search(DOMAIN, axis(5)[np.newaxis])[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.who(5) == ("Ceca", photo(5).image_of("Ceca"))


def test_a_database_that_refuses_leaves_the_pkl_as_it_was(world: World, worker: World) -> None:
    with world.database.transaction(5) as cursor:
        cursor.execute("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
    with pytest.raises(AppError):
        world.persons.add(SCOPE, "Ceca", [photo(5)])
    assert worker.who(5) is None
    assert not (world.folder / ".changes").exists()


def test_a_journal_that_cannot_be_written_leaves_the_database_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PklJournal, "stage", full_disk)
    with pytest.raises(StoreUnavailable):
        world.persons.rename(SCOPE, world.id_of("Ana"), "Anna")
    assert world.who(0) == ("Ana", "Ana/1.jpg")
    assert world.files() == {"Ana/1.jpg", "Ana/2.jpg", "Bojan/1.jpg"}


def test_a_domain_without_a_pkl_has_persons_in_the_database_alone(world: World) -> None:
    world.persons._look_alikes = lambda _domain, probes: [() for _ in probes]
    added = world.persons.add(Scope("slovenia", "t_test"), "Žiga", [photo(5)])
    world.persons.rename(Scope("slovenia", "t_test"), added.id, "Žan")
    world.vector_db._held = None
    ((match,),) = world.pgvector.search("slovenia", axis(5)[np.newaxis])
    assert match.person == "Žan"
    assert (world.storage / "galleries" / "slovenia" / match.image).exists()
