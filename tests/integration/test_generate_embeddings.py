"""Image folders into Postgres with Dlib's real models: what is stored, what is not done twice, what is said."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.postgres import Database
from app.services.ingest.bulk_runs import BulkRuns
from scripts import demo_faces
from tests.integration.ingest_gallery import DOMAIN, IngestGallery

PERSONS = 2


@pytest.fixture
def gallery(tmp_path: Path, migrated_database: Database, postgres: EmbeddedPostgres) -> IngestGallery:
    """Two persons with three photos each, none of them in the database."""
    return IngestGallery.make(tmp_path, migrated_database, postgres, PERSONS)


@pytest.fixture(scope="module")
def filled(
    make_folder: Callable[[], Path], make_database: Callable[[], Database], postgres: EmbeddedPostgres
) -> Iterator[IngestGallery]:
    """The same, in the database already; a test leaves it as complete as it finds it."""
    made = IngestGallery.make(make_folder() / "storage", make_database(), postgres, PERSONS)
    first = made.run()
    assert (first.code, first.embedded) == (0, 6), first.log
    yield made
    made.database.close()


def test_folders_and_flat_files_become_persons_with_faces_and_an_index(gallery: IngestGallery) -> None:
    (gallery.folder / "Person 001" / "3.png").rename(gallery.folder / "Ana_Anic_2.png")
    (gallery.folder / "Person 002" / "3.png").rename(gallery.folder / "Person 002" / "no-extension")
    (gallery.folder / ".hidden.png").write_bytes(b"not looked at")
    (gallery.folder / "ds_model_dlib.pkl").write_bytes(b"not looked at")
    run = gallery.run("--batch-size", "4")
    assert run.code == 0, run.log
    persons = {image: person for image, person, *_ in gallery.faces()}
    assert persons == {
        "Ana_Anic_2.png": "Ana Anic",
        "Person 001/1.png": "Person 001",
        "Person 001/2.png": "Person 001",
        "Person 002/1.png": "Person 002",
        "Person 002/2.png": "Person 002",
        "Person 002/no-extension": "Person 002",
    }
    indexes = gallery.query("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
    assert len(indexes) == 1


def test_a_run_tells_the_console_how_far_it_is_and_a_stopped_one_that_it_stopped(gallery: IngestGallery) -> None:
    assert gallery.run("--limit", "2").code == 0
    assert gallery.run("--dry-run").code == 0
    assert gallery.run().code == 0
    runs = [(run.kind, run.domain, run.done, run.total, run.state) for run in BulkRuns(gallery.database).recent()]
    assert runs == [("embedding", DOMAIN, 4, 4, "done"), ("embedding", DOMAIN, 2, 6, "stopped")]


def test_a_second_run_embeds_nothing_and_says_so(filled: IngestGallery) -> None:
    before = filled.faces()
    again = filled.run()
    assert (again.code, again.embedded, filled.faces()) == (3, 0, before)


def test_touched_and_chmod_ed_files_are_not_embedded_again(filled: IngestGallery) -> None:
    os.utime(filled.folder / "Person 001" / "1.png", (1, 1))
    (filled.folder / "Person 002" / "1.png").chmod(0o600)
    before = filled.faces()
    again = filled.run()
    assert (again.code, again.embedded, filled.faces()) == (3, 0, before)


def test_a_moved_file_takes_its_faces_and_its_record_to_the_new_person(filled: IngestGallery) -> None:
    vector = {row[0]: row[-1] for row in filled.faces()}["Person 001/2.png"]
    new = filled.folder / "Mila Milic" / "portrait.png"
    new.parent.mkdir()
    (filled.folder / "Person 001" / "2.png").rename(new)
    run = filled.run()
    assert (run.code, run.embedded) == (0, 0)
    moved = {row[0]: (row[1], row[-1]) for row in filled.faces()}
    assert moved["Mila Milic/portrait.png"] == ("Mila Milic", vector)
    assert "Person 001/2.png" not in moved
    assert "Person 001/2.png" not in filled.outcomes()
    assert len(moved) == 6


def test_the_same_content_under_two_paths_is_embedded_once_and_stored_twice(filled: IngestGallery) -> None:
    photo = demo_faces.known_probe(5)[0]
    for name in ("Ivo Ivic.jpg", "Ivo Ivic 2.jpg"):
        (filled.folder / name).write_bytes(photo)
    first = filled.run()
    (filled.folder / "Ivo Ivic 3.jpg").write_bytes(photo)
    later = filled.run()
    vectors = [row[-1] for row in filled.faces() if row[1] == "Ivo Ivic"]
    assert (first.embedded, later.embedded, later.code) == (1, 0, 0)
    assert len(vectors) == 3
    assert len(set(vectors)) == 1


def test_a_changed_file_replaces_its_faces(filled: IngestGallery) -> None:
    path = filled.folder / "Person 002" / "3.png"
    before = {row[0]: row[-1] for row in filled.faces()}
    path.write_bytes(demo_faces.known_probe(1)[0])
    run = filled.run()
    after = {row[0]: row[-1] for row in filled.faces()}
    assert (run.code, run.embedded) == (0, 1)
    assert {image for image in after if after[image] != before[image]} == {"Person 002/3.png"}


def test_a_removed_file_is_reported_and_keeps_its_faces(filled: IngestGallery) -> None:
    path = filled.folder / "Person 001" / "1.png"
    photo = path.read_bytes()
    path.unlink()
    run = filled.run()
    assert run.code == 3
    assert "files gone (faces kept) │ 1" in " ".join(run.output.split())
    assert "Person 001/1.png" in filled.images()
    path.write_bytes(photo)


def test_what_cannot_be_enrolled_is_recorded_with_its_reason_and_not_tried_again(
    gallery: IngestGallery, tmp_path: Path
) -> None:
    import cv2
    import numpy as np

    grey = np.full((120, 120, 3), 127, dtype=np.uint8)
    cv2.imwrite(str(gallery.folder / "Nobody.png"), grey)
    cv2.imwrite(str(gallery.folder / "Tiny.png"), grey[:8, :8])
    (gallery.folder / "Broken.jpg").write_bytes(b"no photo")
    report = tmp_path / "report.csv"
    first = gallery.run("--report", str(report))
    assert (first.code, len(gallery.faces())) == (2, 6)
    expected = {"Broken.jpg": "unreadable", "Nobody.png": "no_face", "Tiny.png": "too_small"}
    with report.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["path"]: line["outcome"] for line in lines} == expected
    assert all(line["reason"] for line in lines)

    again = gallery.run()
    assert (again.code, again.embedded) == (3, 0)
    retried = gallery.run("--retry-failed")
    assert (retried.code, retried.embedded) == (2, 3)

    (gallery.folder / "Nobody.png").write_bytes(demo_faces.known_probe(3)[0])
    changed = gallery.run()
    assert (changed.code, changed.embedded, gallery.outcomes()["Nobody.png"]) == (0, 1, "done")


def test_each_policy_for_several_faces_and_a_change_of_policy(gallery: IngestGallery) -> None:
    photo, names = demo_faces.several_faces()
    (gallery.folder / "Group.jpg").write_bytes(photo)
    gallery.extra = {"FACE_IMAGE_MAX_SIDE": "0"}

    def group() -> tuple[int, int, int]:
        run = gallery.run("--faces", policy)
        return run.code, run.embedded, gallery.images().count("Group.jpg")

    policy = "skip"
    assert group() == (2, 7, 0)
    assert gallery.outcomes()["Group.jpg"] == "several_faces"
    policy = "all"
    assert group() == (0, 1, len(names))  # those with one face are not embedded again
    policy = "largest"
    assert group() == (0, 1, 1)


def test_a_dry_run_and_a_limit_do_no_more_than_they_say(gallery: IngestGallery) -> None:
    dry = gallery.run("--dry-run")
    assert (dry.code, dry.embedded, gallery.images(), gallery.outcomes()) == (0, 0, [], {})
    assert "to embed │ 6" in " ".join(dry.output.split())
    limited = gallery.run("--limit", "4", "--workers", "2")
    assert (limited.code, limited.embedded, len(gallery.images())) == (0, 4, 4)
    rest = gallery.run()
    assert (rest.code, rest.embedded, len(gallery.images())) == (0, 2, 6)


def test_another_folder_is_read_where_one_is_named(gallery: IngestGallery, tmp_path: Path) -> None:
    elsewhere = tmp_path / "photos"
    gallery.folder.rename(elsewhere)
    assert gallery.run("--images", str(elsewhere)).code == 0
    assert len(gallery.images()) == 6


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--images", "/nowhere"), "cannot be listed"),
        (("--domain", "../up"), "A domain's name"),
        (("--report", "/nowhere/report.csv"), "The report cannot be written"),
    ],
)
def test_what_is_in_the_way_is_said_in_a_sentence(
    gallery: IngestGallery, arguments: tuple[str, ...], sentence: str
) -> None:
    run = gallery.run(*arguments)
    assert run.code == 1
    assert sentence in " ".join(run.output.split())
    assert "Traceback" not in run.output + run.log


def test_without_a_database_url_the_embedded_one_is_started_and_released(
    make_folder: Callable[[], Path], migrated_database: Database, postgres: EmbeddedPostgres
) -> None:
    gallery = IngestGallery.make(make_folder() / "storage", migrated_database, postgres, 1)
    gallery.extra = {"DATABASE_URL": ""}
    first, second = gallery.run(), gallery.run()
    assert (first.code, second.code) == (0, 3), first.log
    assert not (gallery.storage / "pgdata" / "postmaster.pid").exists()


def test_no_name_and_no_vector_stands_in_the_log(filled: IngestGallery) -> None:
    (filled.folder / "Person 001" / "4.jpg").write_bytes(demo_faces.known_probe(0)[0])
    run = filled.run()
    assert run.embedded == 1
    assert DOMAIN not in run.log
    assert "Person" not in run.log
