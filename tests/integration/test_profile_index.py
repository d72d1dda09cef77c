"""The embedded profile index, as an operator fills it, looks at it and searches it: real Postgres, real faces."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.local_photos import LocalPhotos
from app.bootstrap_scripts import GalleryContainer
from app.errors import StoreUnavailable
from app.services.profile_search_service import ProfileSearchService
from app.services.profiles.postgres_profile_writers import PostgresDocumentWriter, PostgresVectorWriter
from config import Settings
from scripts import demo_faces, profile_index
from tests.faces import known_face, stranger
from tests.integration.gallery_host import GalleryHost
from tests.integration.profile_lines import DIMENSIONS, held, probe, profile, rows, unit, write_lines

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(host: GalleryHost) -> Path:
    """Thirty profiles given by vectors."""
    return write_lines(host.folder / "profiles.jsonl", [profile(f"e{n}", n) for n in range(30)])


@pytest.fixture
def embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real model, and a scale on which Dlib's persons are told apart."""
    monkeypatch.delenv("FACE_WEIGHTS_SHA256")
    monkeypatch.setenv("FACE_IMAGE_MAX_SIDE", "300")
    monkeypatch.setenv("PROFILE_SEARCH_MIN_SIMILARITY", "0.93")


@pytest.fixture
def search(host: GalleryHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProfileSearchService]:
    """Profile search as the service makes it."""
    monkeypatch.setenv("PROFILE_SEARCH_ENABLED", "true")
    with closing(GalleryContainer(Settings.load())) as container:
        assert container.profile_search is not None
        yield container.profile_search


def test_the_demo_index_finds_the_demos_persons_and_no_stranger(
    host: GalleryHost, embedding: None, search: ProfileSearchService
) -> None:
    code, printed = host.run(profile_index.main, "import", "--demo", "--workers", "2")
    assert code == 0, printed
    with closing(host.container()) as container:
        faces = [container.engine.embed_faces(image)[0] for image in (known_face(0), known_face(5), stranger())]
    result = search.search_profiles([probe(n, face.embedding) for n, face in enumerate(faces)])

    assert result.status == "ok"
    assert [(match.entity_id, match.platform) for match in result.matches[0]] == [
        ("demo-001", "twitter"),
        ("demo-001", "tiktok"),
    ]
    assert [match.entity_id for match in result.matches[1]] == ["demo-006"]
    assert result.matches[2] == ()
    key = result.matches[0][0].profile_image_path
    assert key == "profile_images/demo-001.jpg"
    assert search.photos([key])[key].startswith(b"\xff\xd8\xff")

    code, printed = host.run(profile_index.main, "verify", "--sample", "12", "--photos", "4")
    assert code == 0, printed
    assert "12 entities looked at" not in printed  # of 36 faces, some are of one entity
    assert "36 faces" in printed
    assert "0.70 is anybody" in printed


def test_importing_twice_doubles_nothing_and_says_what_is_there_already(host: GalleryHost, file: Path) -> None:
    assert host.run(profile_index.main, "import", str(file))[0] == 0
    before = rows(host, "SELECT entity_id, features::text FROM profile_faces ORDER BY 1")
    code, printed = host.run(profile_index.main, "import", str(file))
    assert code == 0
    assert "there already │ 30" in " ".join(printed.split())
    assert held(host) == (30, 30)
    assert rows(host, "SELECT entity_id, features::text FROM profile_faces ORDER BY 1") == before


def test_with_again_what_changed_replaces_what_was_there(
    host: GalleryHost, file: Path, search: ProfileSearchService
) -> None:
    host.run(profile_index.main, "import", str(file))
    write_lines(file, [profile("e3", 333, vectors=[unit(333), unit(334)], center=1)])
    assert host.run(profile_index.main, "import", "--again", str(file))[0] == 0
    assert held(host) == (31, 30)
    found = search.search_profiles([probe(0, unit(3)), probe(1, unit(334))])
    assert found.matches[0] == ()
    (match,) = found.matches[1]
    assert (match.entity_id, match.name, match.profile_id) == ("e3", "Name 333", "333")
    centers = rows(host, "SELECT position FROM profile_faces WHERE entity_id = 'e3' AND center")
    assert centers == [(1,)]


@pytest.mark.parametrize(
    ("writer", "method"), [(LocalPhotos, "put"), (PostgresDocumentWriter, "upsert"), (PostgresVectorWriter, "replace")]
)
def test_an_import_that_was_broken_off_is_mended_by_a_repeat(
    host: GalleryHost, monkeypatch: pytest.MonkeyPatch, writer: type, method: str
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("The store went away.")

    (host.folder / "photo.jpg").write_bytes(demo_faces.known_probe()[0])
    lines: list[dict[str, Any] | str] = [profile(f"e{n}", n, image="photo.jpg") for n in range(5)]
    path = str(write_lines(host.folder / "p.jsonl", lines))
    with monkeypatch.context() as broken:
        broken.setattr(writer, method, fail)
        code, printed = host.run(profile_index.main, "import", path)
        assert code == 1
        assert "The store went away." in printed
        assert "Traceback" not in printed
    assert held(host)[0] == 0
    assert host.run(profile_index.main, "import", path)[0] == 0
    assert held(host) == (5, 5)
    assert len(list((host.folder / "profiles" / "profile_images").iterdir())) == 5


def test_bad_lines_are_listed_with_their_reason_and_stop_no_other(host: GalleryHost) -> None:
    (host.folder / "broken.jpg").write_bytes(b"no photo")
    no_photo = {"metadata": profile("x", 1)["metadata"]}
    lines: list[dict[str, Any] | str] = [
        profile("good", 1),
        "{not json",
        profile("../up", 2),
        profile("good", 3),
        profile("short", 4, vectors=[[1.0, 2.0]]),
        profile("ragged", 5, vectors=[[1.0], [1.0, 2.0]]),
        profile("no-platform", 6, metadata={"myspaceData": {}}),
        profile("nul", 7, metadata={"twitterData": {"name": "a\0b"}}),
        no_photo | {"entity_id": "gone", "image": "gone.jpg"},
        no_photo | {"entity_id": "broken", "image": "broken.jpg"},
        no_photo | {"entity_id": "outside", "image": "../../etc/passwd"},
        no_photo | {"entity_id": "nothing"},
        profile("last", 8),
    ]
    code, printed = host.run(profile_index.main, "import", str(write_lines(host.folder / "p.jsonl", lines)))
    assert code == 2
    said = {line.split(":")[0] for line in printed.splitlines() if line.startswith("line ")}
    assert said == {f"line {number}" for number in range(2, 13)}
    assert rows(host, "SELECT entity_id FROM profile_faces ORDER BY 1") == [("good",), ("last",)]
    assert "Traceback" not in printed


def test_a_folder_with_one_json_for_each_profile_is_imported(
    host: GalleryHost, embedding: None, search: ProfileSearchService
) -> None:
    folder = host.folder / "people"
    (folder / "second").mkdir(parents=True)
    described = json.dumps({"instagramData": {"name": "X", "id": "9", "follower_count": 3}})
    (folder / "first.json").write_text(described)
    (folder / "first.jpg").write_bytes(demo_faces.known_probe(0)[0])
    (folder / "second" / "profile.json").write_text(described)
    (folder / "second" / "b.jpg").write_bytes(demo_faces.known_probe(1)[0])
    (folder / "lonely.json").write_text(described)
    code, printed = host.run(profile_index.main, "import", str(folder))
    assert code == 2, printed
    assert "lonely.json: There is no photo beside it." in printed
    with closing(host.container()) as container:
        face = container.engine.embed_faces(known_face(1))[0]
    (match,) = search.search_profiles([probe(0, face.embedding)]).matches[0]
    assert (match.entity_id, match.platform) == ("second", "instagram")
    assert match.similarity == pytest.approx(1, abs=1e-3)
    assert match.raw_metadata["instagramData"]["follower_count"] == 3


def test_an_index_of_another_spec_is_off_and_says_what_differs(
    host: GalleryHost, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run(profile_index.main, "import", str(file))
    monkeypatch.setenv("PROFILE_SEARCH_ENABLED", "true")
    monkeypatch.setenv("FACE_DETECTOR", "opencv")
    with closing(GalleryContainer(Settings.load())) as container:
        assert container.profile_search is not None
        result = container.profile_search.search_profiles([probe(0, unit(1))])
        health = container.profile_search.health_check()
    assert (result.status, health["status"]) == ("off", "off")
    assert "detector: dlib there, opencv here" in (result.reason or "")
    assert health["reason"] == result.reason

    code, printed = host.run(profile_index.main, "import", str(file))
    assert code == 0, printed  # beside the faces of the other spec, which this one does not see
    assert held(host) == (60, 30)


def test_verify_finds_an_entity_without_document_and_stats_counts(host: GalleryHost, file: Path) -> None:
    host.run(profile_index.main, "import", str(file))
    with host.database.transaction(10) as cursor:
        cursor.execute("DELETE FROM profile_documents WHERE entity_id = 'e7'")
    code, printed = host.run(profile_index.main, "verify", "--photos", "0")
    flat = " ".join(printed.split())
    assert code == 1
    assert "without a document │ 1 │ FAIL" in flat
    assert "recall@5 as set │ 100.0% │ ok" in flat

    code, printed = host.run(profile_index.main, "stats")
    assert code == 0
    assert "30 faces" in printed
    assert "29 documents" in printed


def test_the_index_finds_what_measuring_every_face_finds_and_crowds_are_looked_behind(
    host: GalleryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.services.profiles import postgres_profiles

    crowd = [(0.999 * np.array(unit(1)) + 0.001 * np.array(unit(1000 + n))).tolist() for n in range(60)]
    lines: list[dict[str, Any] | str] = [profile("crowd", 1, vectors=crowd)]
    lines += [
        profile(f"e{n}", n, vectors=[(np.array(unit(1)) + 0.3 * np.array(unit(n))).tolist()]) for n in range(2, 40)
    ]
    host.run(profile_index.main, "import", str(write_lines(host.folder / "p.jsonl", lines)))
    monkeypatch.setattr(postgres_profiles, "EXACT_MAX_ROWS", 10)
    with closing(host.container()) as container:
        vectors = postgres_profiles.PostgresProfileVectors(container.database, container.engine.spec)
        writer = PostgresVectorWriter(container.database, container.engine.spec)
        probes = np.array([unit(1), unit(7)], dtype=np.float32)
        by_index, measured = vectors.nearest(probes, 5, 10.0), writer.exact(probes, 5)
    assert by_index == measured
    assert by_index[0][0].entity_id == "crowd"
    assert [len({hit.entity_id for hit in hits}) for hits in by_index] == [5, 5]


def test_without_a_database_the_search_fails_in_words_and_the_health_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        _env_file=None,
        storage_dir=tmp_path,
        profile_search_enabled=True,
        face_model="Dlib",
        face_detector="dlib",
        face_weights_sha256="ab" * 32,
    )
    with closing(GalleryContainer(settings)) as container:
        assert container.profile_search is not None
        result = container.profile_search.search_profiles([probe(0, unit(1))])
        health = container.profile_search.health_check()
    assert result.status == "failed"
    assert "DATABASE_URL" in (result.reason or "")
    assert health["status"] == "off"
    assert health["stores"]["vectors"]["status"] == "down"
    assert health["stores"]["photos"] == {"kind": "folder", "status": "ok"}


def test_the_health_report_shows_profile_search_and_is_not_degraded_where_nobody_asked_for_it(
    host: GalleryHost, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import health

    monkeypatch.setenv("VECTOR_DB_DUAL_MODE", "false")
    with closing(GalleryContainer(Settings.load())) as container:
        unused = health.report(container, with_details=True)
    assert (unused["status"], unused["services"]["profile_search"]["status"]) == ("ok", "off")
    host.run(profile_index.main, "import", str(file))
    monkeypatch.setenv("PROFILE_SEARCH_ENABLED", "true")
    with closing(GalleryContainer(Settings.load())) as container:
        report = health.report(container, with_details=True)
    assert report["services"]["profile_search"] == {
        "status": "ok",
        "stores": {
            "vectors": {"kind": "postgres", "status": "ok"},
            "documents": {"kind": "postgres", "status": "ok"},
            "photos": {"kind": "folder", "status": "ok"},
        },
        "dimensions": {"index": DIMENSIONS, "engine": DIMENSIONS},
    }


def test_an_import_that_was_killed_is_completed_by_a_repeat(host: GalleryHost) -> None:
    lines: list[dict[str, Any] | str] = [profile(f"e{n}", n) for n in range(3000)]
    path = write_lines(host.folder / "many.jsonl", lines)
    command = [sys.executable, "-m", "scripts.profile_index", "import", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while not held(host)[0] and running.poll() is None:
            time.sleep(0.01)
        running.kill()
    assert 0 < held(host)[0] < len(lines)
    assert host.run(profile_index.main, "import", str(path))[0] == 0
    assert held(host) == (len(lines), len(lines))
