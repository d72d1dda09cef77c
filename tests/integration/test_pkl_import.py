"""An existing PKL becomes a gallery of the database, which then answers as the PKL does."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.domain import GalleryFace
from app.errors import StoreUnavailable
from app.services.ingest.bulk_runs import BulkRuns
from app.services.transfer.bulk_load import BulkLoader
from app.services.transfer.gallery_lint import all_faces
from app.services.transfer.pkl_import import import_faces
from scripts.migrate_pkl_to_postgres_standalone import main
from tests.integration.galleries import make_up
from tests.integration.gallery_host import GalleryHost

DOMAIN = "serbia"


def faces(images: int = 12, persons: int = 10) -> list[GalleryFace]:
    return list(make_up([images] * persons).faces)


def stored(host: GalleryHost) -> list[tuple[Any, ...]]:
    with host.database.transaction(10, read_only=True) as cursor:
        cursor.execute(
            "SELECT p.name, f.image FROM face_embeddings f JOIN persons p ON p.id = f.person_id ORDER BY f.image"
        )
        return cursor.fetchall()


def test_a_pkl_is_imported_without_weights_or_a_model_and_proved(host: GalleryHost) -> None:
    gallery = faces()
    host.write_pkl(DOMAIN, gallery)

    code, result = host.run_json(main, "--domain", DOMAIN, "--probes", "30")

    assert code == 0
    assert stored(host) == sorted(((face.person, face.image) for face in gallery), key=lambda row: row[1])
    assert (result["proof"]["exact"]["equal"], result["proof"]["served"]["recall"]) == (30, 1.0)
    assert not (host.folder / "models").exists()


def test_an_import_tells_the_console_how_far_it_is(host: GalleryHost) -> None:
    host.write_pkl(DOMAIN, faces())
    assert host.run(main, "--domain", DOMAIN, "--probes", "5")[0] == 0
    (run,) = BulkRuns(host.database).recent()
    assert (run.kind, run.domain, run.done, run.total, run.state) == ("pkl_import", DOMAIN, 120, 120, "done")


def test_a_second_import_changes_nothing_and_says_so(host: GalleryHost) -> None:
    host.write_pkl(DOMAIN, faces())
    host.run(main, "--domain", DOMAIN, "--probes", "5")
    before = stored(host)

    code, printed = host.run(main, "--domain", DOMAIN, "--probes", "5")

    assert (code, stored(host)) == (0, before)
    assert "120 were there already" in printed


def test_the_proof_fails_where_the_database_has_what_the_pkl_lacks(host: GalleryHost) -> None:
    gallery = faces()
    host.write_pkl(DOMAIN, gallery)
    container = host.container()
    nearer = [replace(face, person="Somebody Else", image=f"Somebody Else/{i}.jpg") for i, face in enumerate(gallery)]
    container.vector_db.add_faces(DOMAIN, nearer)
    container.close()

    code, printed = host.run(main, "--domain", DOMAIN, "--probes", "20")

    assert code == 1
    assert "does NOT hold" in printed


def test_a_dry_run_reports_the_faults_of_the_file_and_touches_no_database(
    host: GalleryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    path = host.write_pkl(
        DOMAIN, [*faces(2, 2), replace(faces(1, 1)[0], person="person 0000", image="person 0000/1.jpg")]
    )
    rows = pickle.loads(path.read_bytes())
    vector = rows[0]["embedding"]
    broken = [None, [*vector, 1.0], [float("nan"), *vector[1:]], [0.0] * len(vector), vector]
    rows += [rows[0] | {"embedding": embedding} for embedding in broken]
    path.write_bytes(pickle.dumps(rows))

    code, result = host.run_json(main, "--domain", DOMAIN, "--dry-run")

    assert code == 0
    assert result["lint"] == {
        "rows": 5,
        "persons": 3,
        "left_out": {"no_embedding": 1, "wrong_dimensions": 1, "not_finite": 1, "zero": 1, "duplicate": 1},
        "missing_images": 5,
        "colliding_names": [["Person 0000", "person 0000"]],
    }


def test_a_file_elsewhere_is_imported_into_the_domain_that_is_named(host: GalleryHost) -> None:
    path = host.write_pkl("old", faces(3, 3))
    code, _ = host.run(main, str(path), "--domain", "new", "--probes", "5", "--strip-prefix", "/mnt/old")
    assert code == 0
    assert {name for name, _ in stored(host)} == {"Person 0000", "Person 0001", "Person 0002"}


def test_an_import_that_was_cut_off_goes_on_where_it_was(host: GalleryHost) -> None:
    host.write_pkl(DOMAIN, faces())
    container = host.container()
    gallery = container.pkl_gallery(DOMAIN)
    cut_off = CutOffAfter(container.bulk_loader, loads=2)
    with pytest.raises(StoreUnavailable):
        import_faces(cut_off, DOMAIN, all_faces(gallery), lambda _: None, chunk=25)  # type: ignore[arg-type]
    assert len(stored(host)) == 50

    report = import_faces(container.bulk_loader, DOMAIN, all_faces(gallery), lambda _: None, chunk=25)
    container.close()

    assert (report.unchanged, report.inserted, len(stored(host))) == (50, 70, 120)


class CutOffAfter:
    """A loader whose connection is lost in its third load."""

    def __init__(self, loader: BulkLoader, loads: int) -> None:
        self.transaction = loader.transaction
        self._loader, self._left = loader, loads

    def load(self, cursor: Any, domain: str, rows: list[GalleryFace]) -> Any:
        report = self._loader.load(cursor, domain, rows)
        if not self._left:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        self._left -= 1
        return report


def test_numbers_finer_than_float32_are_imported_and_proved(host: GalleryHost) -> None:
    finer = [replace(face, embedding=face.embedding.astype(np.float64) * (1 + 1e-9)) for face in faces(4, 6)]
    host.write_pkl(DOMAIN, finer)
    code, result = host.run_json(main, "--domain", DOMAIN)
    assert (code, result["proof"]["exact"]["match_rate"]) == (0, 1.0)


def test_an_unsafe_pickle_is_refused_in_a_sentence(host: GalleryHost) -> None:
    path = host.write_pkl(DOMAIN, faces(1, 1))
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code, printed = host.run(main, "--domain", DOMAIN)
    assert code == 1
    assert "Traceback" not in printed
    assert stored(host) == []


def test_a_domain_without_a_pkl_is_told(host: GalleryHost) -> None:
    code, printed = host.run(main, "--domain", "atlantis")
    assert (code, "has no PKL gallery" in printed) == (1, True)


@pytest.mark.parametrize("wrong", [["nowhere.pkl", "--domain", "a"], ["--domain", "a", "--weights-sha256", "xyz"]])
def test_wrong_arguments_end_with_the_usage(host: GalleryHost, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
