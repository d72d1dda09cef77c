"""The PKL galleries as workers hold them: compiled once per change by a real second process, shared, never lost."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from app.adapters.pkl import compile as pkl_compile
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_pkl
from app.domain import EmbeddingSpec, FaceBox, GalleryFace
from app.errors import SpecMismatch, StartupError, StoreUnavailable, UnknownDomain

SPEC = EmbeddingSpec(
    model="Dlib",
    weights_sha256="0" * 64,
    detector="dlib",
    align=True,
    normalization="base",
    expand_percentage=0,
    image_max_side=0,
    dimensions=4,
)
OTHER_SPEC = dataclasses.replace(SPEC, detector="mtcnn")
HOSTILE = b"cos\nsystem\n(S'exit 1'\ntR."
AT_ONCE = 0.0


class Place:
    """A folder of galleries and a cache, as a deployment has them."""

    def __init__(self, folder: Path) -> None:
        self.galleries = folder / "galleries"
        self.cache = folder / "cache" / "pkl"

    def pkl(self, domain: str = "serbia") -> Path:
        (self.galleries / domain).mkdir(parents=True, exist_ok=True)
        return self.galleries / domain / pkl_names(SPEC)[0]

    def enrol(self, *persons: str, domain: str = "serbia") -> None:
        pkl = self.pkl(domain)
        box = FaceBox(1, 2, 30, 40)
        vectors = np.eye(4, dtype=np.float32)
        faces = [GalleryFace(p, f"{p}/1.jpg", box, vectors[n % 4] * (n + 1)) for n, p in enumerate(persons)]
        write_pkl(pkl, faces, pkl.parent)

    def worker(self, spec: EmbeddingSpec = SPEC, overrides: dict[str, Path] | None = None) -> PklSnapshots:
        return PklSnapshots(self.galleries, self.cache, spec, overrides or {}, check_every_s=AT_ONCE)

    def snapshots(self, domain: str = "serbia") -> list[Path]:
        return sorted(path for path in (self.cache / domain).iterdir() if path.is_dir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def persons(worker: PklSnapshots, domain: str = "serbia") -> list[str]:
    matrix = worker.current(domain)
    return [matrix.person(row) for row in range(len(matrix))]


def error(worker: PklSnapshots, domain: str = "serbia") -> str | None:
    return worker.status()[domain].error


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def test_a_gallery_is_served_from_its_pkl(place: Place) -> None:
    place.enrol("Ana", "Ivan")
    worker = place.worker()
    worker.check_all()

    assert persons(worker) == ["Ana", "Ivan"]
    assert worker.current("serbia").embeddings.tolist() == [[1, 0, 0, 0], [0, 2, 0, 0]]
    assert worker.domains() == {"serbia"}
    status = worker.status()["serbia"]
    assert (status.rows, status.persons, status.source, status.error) == (2, 2, place.pkl().name, None)


def test_a_second_worker_compiles_nothing_and_maps_the_same_files(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.enrol("Ana")
    place.worker().check_all()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it compiled again"))

    second = place.worker()

    assert persons(second) == ["Ana"]
    mapped = Path("/proc/self/maps").read_text()
    assert str(place.snapshots()[0] / "embeddings.npy") in mapped


def test_workers_that_start_together_compile_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.enrol("Ana")
    compiled: list[object] = []
    really = subprocess.run

    def counting(*args: object, **options: object) -> object:
        compiled.append(args)
        return really(*args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counting)
    workers = [place.worker() for _ in range(4)]
    threads = [threading.Thread(target=worker.check_all) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(compiled) == 1
    assert [persons(worker) for worker in workers] == [["Ana"]] * 4


def test_a_new_pkl_is_taken_without_a_restart_and_the_old_snapshot_is_removed(place: Place) -> None:
    place.enrol("Ana")
    worker = place.worker()
    held = worker.current("serbia")

    place.enrol("Ana", "Ivan")

    eventually(lambda: persons(worker) == ["Ana", "Ivan"])
    assert len(place.snapshots()) == 1
    assert held.image(0) == "Ana/1.jpg", "a request in flight keeps what it began with"
    assert held.embeddings.tolist() == [[1, 0, 0, 0]]


def test_an_unusable_new_pkl_changes_nothing_but_the_status_and_is_logged_once(place: Place) -> None:
    place.enrol("Ana")
    worker = place.worker()
    worker.check_all()
    pkl = place.pkl()
    for content, reason in (
        (HOSTILE, "os.system"),
        (pickle.dumps([])[:-1], "truncated"),
        (pickle.dumps([["a.jpg", [1.0] * 9]]), "4 dimensions"),
    ):
        with capture_logs() as logs:
            pkl.write_bytes(content)
            eventually(lambda: reason in ((persons(worker) and error(worker)) or ""))  # noqa: B023
            for _ in range(5):
                assert persons(worker) == ["Ana"]
                time.sleep(0.02)
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [("pkl.not_taken", "error")]
    place.enrol("Ana", "Ivan")
    eventually(lambda: persons(worker) == ["Ana", "Ivan"])
    assert error(worker) is None
    assert not list(place.cache.glob("*/*.refused"))


def test_a_worker_that_starts_beside_an_unusable_pkl_takes_the_last_good_one(place: Place) -> None:
    place.enrol("Ana")
    place.worker().check_all()
    place.pkl().write_bytes(HOSTILE)

    restarted = place.worker()
    restarted.check_all()

    assert persons(restarted) == ["Ana"]
    assert "os.system" in (error(restarted) or "")


def test_without_any_usable_snapshot_the_gallery_is_unavailable_and_heals_by_itself(place: Place) -> None:
    place.pkl().write_bytes(HOSTILE)
    worker = place.worker()

    with pytest.raises(StoreUnavailable, match=r"os\.system") as refused:
        worker.current("serbia")
    assert refused.value.error_code == "gallery_unavailable"
    assert worker.domains() == {"serbia"}, "the domain exists, it is only out of order"

    place.enrol("Ana")
    assert persons(worker) == ["Ana"]


def test_a_pkl_that_takes_absurd_amounts_of_memory_is_refused_by_the_process_that_reads_it(place: Place) -> None:
    place.pkl().write_bytes(b"\x80\x02Nr\xff\xff\xff\xff.")  # a memo of four thousand million entries

    with pytest.raises(StoreUnavailable, match="more memory"):
        place.worker().current("serbia")


def test_a_pkl_that_takes_forever_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkl_compile, "TIME_LIMIT_S", 0.001)
    place.enrol("Ana")

    with pytest.raises(StoreUnavailable, match="took longer"):
        place.worker().current("serbia")


def test_what_a_crashed_compilation_left_behind_does_no_harm(place: Place) -> None:
    place.enrol("Ana")
    place.worker().check_all()
    snapshot = place.snapshots()[0]
    (snapshot / "embeddings.npy").write_bytes(b"half of it")
    (snapshot.parent / ".unfinished").mkdir()
    (snapshot.parent / ".unfinished" / "norms.npy").touch()

    assert persons(place.worker()) == ["Ana"]
    assert place.snapshots() == [snapshot]


def test_a_pkl_deleted_while_running_is_reported_and_its_gallery_still_answers(place: Place) -> None:
    place.enrol("Ana")
    worker = place.worker()
    worker.check_all()

    place.pkl().unlink()

    assert [persons(worker) for _ in range(3)] == [["Ana"]] * 3
    assert "has no PKL gallery" in (error(worker) or "")
    assert worker.domains() == {"serbia"}


def test_faces_of_a_deleted_gallery_do_not_outlive_a_restart(place: Place) -> None:
    place.enrol("Ana")
    place.enrol("Mira", domain="slovenia")
    place.worker().check_all()
    place.pkl().unlink()

    restarted = place.worker()
    restarted.check_all()

    assert restarted.domains() == {"slovenia"}
    assert [path.name for path in place.cache.iterdir()] == ["slovenia"]
    with pytest.raises(UnknownDomain):
        restarted.current("serbia")


@pytest.mark.parametrize("name", ["atlantis", "../galleries/serbia", "", ".", "a/b", "images-only"])
def test_what_is_no_domain_is_unknown(place: Place, name: str) -> None:
    place.enrol("Ana")
    (place.galleries / "images-only").mkdir()

    with pytest.raises(UnknownDomain):
        place.worker().current(name)


def test_a_pkl_of_another_spec_stops_the_start_with_what_differs(place: Place) -> None:
    place.enrol("Ana")

    with pytest.raises(SpecMismatch, match="detector: dlib there, mtcnn here"):
        place.worker(OTHER_SPEC).check_all()
    with pytest.raises(SpecMismatch, match="detector"):
        place.worker(OTHER_SPEC).current("serbia")
    assert place.worker(OTHER_SPEC).domains() == frozenset()


def test_one_damaged_gallery_does_not_stop_the_others_but_nothing_at_all_does(place: Place) -> None:
    place.pkl("serbia").write_bytes(b"damaged")
    with pytest.raises(StartupError, match="serbia"):
        place.worker().check_all()

    place.enrol("Mira", domain="slovenia")
    worker = place.worker()
    worker.check_all()

    assert persons(worker, "slovenia") == ["Mira"]
    assert "truncated" in (error(worker) or "")


def test_a_start_without_any_gallery_is_no_error(place: Place) -> None:
    worker = place.worker()
    worker.check_all()

    assert worker.domains() == frozenset()
    assert worker.status() == {}


def test_a_pkl_with_a_name_and_place_of_its_own_is_served(place: Place, tmp_path: Path) -> None:
    place.enrol("Ana")
    own = place.pkl().rename(tmp_path / "srb.pkl")

    worker = place.worker(overrides={"serbia": own})
    worker.check_all()

    assert persons(worker) == ["Ana"]


def test_a_configured_pkl_that_does_not_exist_stops_the_start(place: Place, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"srb\.pkl"):
        place.worker(overrides={"serbia": tmp_path / "srb.pkl"}).check_all()


def test_rows_that_were_left_out_are_logged_and_counted(place: Place) -> None:
    place.pkl().write_bytes(pickle.dumps([["Ana/1.jpg", [1.0] * 4], ["Ana/2.jpg", None], ["Ana/3.jpg", [0.0] * 4]]))
    worker = place.worker()

    with capture_logs() as logs:
        worker.check_all()

    assert worker.status()["serbia"].left_out.total == 2
    warning = next(entry for entry in logs if entry["event"] == "pkl.rows_left_out")
    assert (warning["no_embedding"], warning["zero"], warning["domain"]) == (1, 1, "serbia")


def test_no_name_and_no_path_of_an_image_is_logged(place: Place) -> None:
    place.enrol("Ana")
    with capture_logs() as logs:
        worker = place.worker()
        worker.check_all()
        place.pkl().write_bytes(HOSTILE)
        eventually(lambda: bool(persons(worker) and error(worker)))

    assert len(logs) == 2
    assert "Ana" not in str(logs)


def test_the_cache_is_nobody_elses_business(place: Place) -> None:
    place.enrol("Ana")
    place.worker().check_all()

    assert (place.cache / "serbia").stat().st_mode & 0o077 == 0
    assert os.access(place.snapshots()[0], os.R_OK)
