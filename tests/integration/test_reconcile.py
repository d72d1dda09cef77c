"""Galleries that have drifted apart are shown as they are, and made equal in either direction."""

from __future__ import annotations

from dataclasses import replace

from app.domain import GalleryFace
from scripts.reconcile_galleries import main
from tests.integration.galleries import make_up
from tests.integration.gallery_host import GalleryHost

DOMAIN = "serbia"
FACES = list(make_up([3] * 20).faces)


def add(host: GalleryHost, faces: list[GalleryFace]) -> None:
    container = host.container()
    container.vector_db.add_faces(DOMAIN, faces)
    container.close()


def drift(host: GalleryHost) -> None:
    """Five faces only in the PKL, four only in the database, three with other vectors, two under another name."""
    host.write_pkl(DOMAIN, FACES[:50])
    changed = [replace(face, embedding=face.embedding[::-1].copy()) for face in FACES[5:8]]
    moved = [replace(face, person="Somebody Else") for face in FACES[8:10]]
    add(host, changed + moved + FACES[10:50] + FACES[50:54])


def counts(host: GalleryHost, *arguments: str) -> tuple[int, list[int]]:
    code, result = host.run_json(main, "--domain", DOMAIN, *arguments)
    kinds = ("equal", "only_in_pkl", "only_in_database", "other_vector", "other_person")
    return code, [result[kind] for kind in kinds]


def same_answers(host: GalleryHost) -> bool:
    """Whether both galleries answer alike for every face of either."""
    container = host.container()
    probes = make_up([3] * 20).probes
    try:
        return container.recognition_service.search(DOMAIN, probes) == container.pgvector_recognition.search(
            DOMAIN, probes
        )
    finally:
        container.close()


def test_equal_galleries_are_told_so(host: GalleryHost) -> None:
    host.write_pkl(DOMAIN, FACES)
    add(host, FACES)
    assert counts(host) == (0, [60, 0, 0, 0, 0])


def test_every_kind_of_difference_is_counted(host: GalleryHost) -> None:
    drift(host)
    assert counts(host) == (1, [40, 5, 4, 3, 2])
    code, printed = host.run(main, "--domain", DOMAIN)
    assert code == 1
    assert "Person 0000/00000.jpg" in printed


def test_a_dry_run_says_what_it_would_do_and_does_nothing(host: GalleryHost) -> None:
    drift(host)
    _, printed = host.run(main, "--domain", DOMAIN, "--apply", "pkl-to-db", "--delete", "--dry-run")
    assert "load 10 faces into the database and delete 4" in printed
    _, printed = host.run(main, "--domain", DOMAIN, "--apply", "db-to-pkl", "--dry-run")
    assert "write a PKL of 49 faces" in printed
    assert counts(host) == (1, [40, 5, 4, 3, 2])


def test_the_database_takes_over_what_the_pkl_has_and_deletes_only_when_told(host: GalleryHost) -> None:
    drift(host)
    assert counts(host, "--apply", "pkl-to-db") == (1, [50, 0, 4, 0, 0])
    assert counts(host, "--apply", "pkl-to-db", "--delete") == (0, [50, 0, 0, 0, 0])
    assert same_answers(host)


def test_the_pkl_becomes_what_the_database_holds_and_the_old_one_is_kept(host: GalleryHost) -> None:
    drift(host)
    folder = host.folder / "galleries" / DOMAIN
    (pkl,) = folder.glob("*.pkl")
    before = pkl.read_bytes()

    assert counts(host, "--apply", "db-to-pkl") == (0, [49, 0, 0, 0, 0])

    (kept,) = folder.glob("*.bak")
    assert kept.read_bytes() == before
    assert same_answers(host)


def test_after_the_cutover_a_pkl_is_made_where_there_is_none(host: GalleryHost) -> None:
    add(host, FACES)
    assert counts(host) == (1, [0, 0, 60, 0, 0])
    assert counts(host, "--apply", "db-to-pkl", "--npz") == (0, [60, 0, 0, 0, 0])
    assert {path.suffix for path in (host.folder / "galleries" / DOMAIN).glob("ds_*")} == {".pkl", ".npz"}
    assert same_answers(host)


def test_a_good_pkl_is_not_replaced_by_an_empty_one(host: GalleryHost) -> None:
    path = host.write_pkl(DOMAIN, FACES)
    before = path.read_bytes()
    code, printed = host.run(main, "--domain", DOMAIN, "--apply", "db-to-pkl")
    assert (code, path.read_bytes()) == (1, before)
    assert "no faces of this domain" in printed


def test_a_database_is_not_emptied_because_there_is_no_pkl(host: GalleryHost) -> None:
    add(host, FACES)
    code, printed = host.run(main, "--domain", DOMAIN, "--apply", "pkl-to-db", "--delete")
    assert code == 1
    assert "the database is left as it is" in printed
    assert counts(host) == (1, [0, 0, 60, 0, 0])


def test_a_person_of_whom_nothing_is_left_is_removed_with_the_last_face(host: GalleryHost) -> None:
    add(host, FACES)
    host.write_pkl(DOMAIN, [face for face in FACES if face.person != "Person 0003"])
    assert counts(host, "--apply", "pkl-to-db", "--delete")[0] == 0
    with host.database.transaction(10, read_only=True) as cursor:
        cursor.execute("SELECT count(*) FROM persons WHERE name = 'Person 0003'")
        assert cursor.fetchone() == (0,)


def test_a_person_renamed_in_the_database_keeps_the_new_name_in_the_pkl(host: GalleryHost) -> None:
    add(host, [replace(face, person=face.person.replace("Person", "Osoba")) for face in FACES])
    assert counts(host, "--apply", "db-to-pkl")[0] == 0
    container = host.container()
    (matches,) = container.recognition_service.search(DOMAIN, FACES[0].embedding[None].astype(float))
    assert matches[0].person == "Osoba 0000"
