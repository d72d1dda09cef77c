"""Gallery files of every generation of DeepFace, whole and damaged, and the files we write for it."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.reader import LeftOut, read_pkl
from app.adapters.pkl.writer import write_npz, write_pkl
from app.domain import EmbeddingSpec, FaceBox, GalleryFace
from app.errors import SpecMismatch, StoreUnavailable, UnsafePickle

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
CURRENT, NPZ, MARCH_2024, OLDEST = pkl_names(SPEC)
ANA = [0.5, -1.25, 2.0, 0.75]
IVAN = [1.0, 0.0, 0.25, -0.5]


def row(identity: str, embedding: object, box: tuple[int, int, int, int] = (1, 2, 30, 40)) -> dict[str, Any]:
    x, y, w, h = box
    columns = {"target_x": x, "target_y": y, "target_w": w, "target_h": h}
    return {"identity": identity, "hash": "", "embedding": embedding} | columns


def pickled(folder: Path, rows: object, name: str = CURRENT, protocol: int = 4) -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(rows, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_current_pkl_gives_its_rows(tmp_path: Path, protocol: int) -> None:
    path = pickled(tmp_path, [row("db/Ana/1.jpg", ANA), row("db/Ivan/1.jpg", IVAN, (5, 6, 7, 8))], protocol=protocol)

    contents = read_pkl(path, SPEC)

    assert contents.identities == ["db/Ana/1.jpg", "db/Ivan/1.jpg"]
    assert contents.embeddings.tolist() == [ANA, IVAN]
    assert contents.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]
    assert contents.left_out == LeftOut()


def test_a_pkl_of_march_2024_gives_its_rows(tmp_path: Path) -> None:
    contents = read_pkl(pickled(tmp_path, [row("db/Ana/1.jpg", ANA)], MARCH_2024), SPEC)

    assert contents.identities == ["db/Ana/1.jpg"]
    assert contents.embeddings.tolist() == [ANA]


def test_the_oldest_pkls_give_their_rows_with_and_without_boxes(tmp_path: Path) -> None:
    old: list[object] = [
        ["db/Ana/1.jpg", ANA],
        ["db/Ana/1.jpg", np.array(IVAN, "f4")],  # a second face of the same photo: these files know no boxes
        ["db/Ivan/1.jpg", IVAN, 5, 6, 7, 8],
        ("db/nobody.jpg", None, 0, 0, 0, 0),
    ]

    contents = read_pkl(pickled(tmp_path, old, OLDEST), SPEC)

    assert contents.identities == ["db/Ana/1.jpg", "db/Ana/1.jpg", "db/Ivan/1.jpg"]
    assert contents.embeddings.tolist() == [ANA, IVAN, IVAN]
    assert contents.boxes.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [5, 6, 7, 8]]
    assert contents.left_out == LeftOut(no_embedding=1)


def test_an_ensemble_of_models_is_refused_because_its_vectors_are_of_several_specs(tmp_path: Path) -> None:
    path = pickled(tmp_path, [["db/Ana/1.jpg", ANA, ANA, ANA, ANA]], OLDEST)

    with pytest.raises(StoreUnavailable, match="not one of DeepFace's"):
        read_pkl(path, SPEC)


def npz_columns(rows: int = 2) -> dict[str, Any]:
    numbers = {f"target_{side}": np.full(rows, 3, np.int64) for side in "xywh"}
    identities = np.array([f"db/P{i}/1.jpg" for i in range(rows)])
    embeddings = np.array([ANA, IVAN])[:rows]
    return {
        "identity": identities,
        "hash": identities,
        "embedding": embeddings,
        "has_embedding": np.ones(rows, bool),
    } | numbers


def test_an_npz_gives_its_rows_and_leaves_out_images_without_a_face(tmp_path: Path) -> None:
    np.savez(tmp_path / NPZ, **npz_columns() | {"has_embedding": np.array([True, False])})

    contents = read_pkl(tmp_path / NPZ, SPEC)

    assert contents.identities == ["db/P0/1.jpg"]
    assert contents.embeddings.tolist() == [ANA]
    assert contents.left_out == LeftOut(no_embedding=1)


def test_an_npz_with_a_pickle_inside_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'it_ran'}",)

    np.savez(
        tmp_path / NPZ, allow_pickle=True, **npz_columns() | {"identity": np.array([Exploit(), "x"], dtype=object)}
    )

    with pytest.raises(StoreUnavailable):
        read_pkl(tmp_path / NPZ, SPEC)
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"identity": np.array(["only one"])},
        {"identity": np.arange(2)},
        {"embedding": np.array([["a"], ["b"]])},
        {"embedding": np.arange(2.0)},
        {"target_x": np.array(["a", "b"])},
    ],
)
def test_an_npz_with_columns_that_do_not_fit_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    np.savez(tmp_path / NPZ, **npz_columns() | change)

    with pytest.raises(StoreUnavailable) as refused:
        read_pkl(tmp_path / NPZ, SPEC)
    assert refused.value.error_code == "pkl_corrupt"


def test_an_npz_without_a_column_says_which(tmp_path: Path) -> None:
    columns = npz_columns()
    del columns["target_w"]
    np.savez(tmp_path / NPZ, **columns)

    with pytest.raises(StoreUnavailable, match="target_w"):
        read_pkl(tmp_path / NPZ, SPEC)


def test_a_truncated_file_of_each_kind_is_damaged(tmp_path: Path) -> None:
    np.savez(tmp_path / NPZ, **npz_columns())
    for path in (tmp_path / NPZ, pickled(tmp_path, [row("a.jpg", ANA)])):
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(StoreUnavailable) as refused:
            read_pkl(path, SPEC)
        assert refused.value.error_code == "pkl_corrupt"


def test_a_hostile_pkl_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CURRENT
    path.write_bytes(b"cos\nsystem\n(S'touch it_ran'\ntR.")

    with pytest.raises(UnsafePickle, match=r"os\.system"):
        read_pkl(path, SPEC)


def test_rows_that_cannot_be_searched_are_counted_by_reason_and_left_out(tmp_path: Path) -> None:
    rows = [
        row("a.jpg", ANA),
        row("a.jpg", ANA),
        row("a.jpg", ANA, (9, 9, 9, 9)),
        row("b.jpg", None),
        row("c.jpg", [1.0, float("nan"), 0.0, 0.0]),
        row("d.jpg", [1.0, float("inf"), 0.0, 0.0]),
        row("e.jpg", [0.0] * 4),
        row("f.jpg", [1.0, 2.0]),
        row("g.jpg", [1e300] * 4),
    ]

    contents = read_pkl(pickled(tmp_path, rows), SPEC)

    assert contents.identities == ["a.jpg", "a.jpg"]
    assert contents.left_out == LeftOut(no_embedding=1, wrong_dimensions=1, not_finite=3, zero=1, duplicate=1)
    assert contents.left_out.total == 7


def test_an_empty_gallery_and_one_without_faces_are_galleries(tmp_path: Path) -> None:
    for rows in ([], [row("a.jpg", None)]):
        contents = read_pkl(pickled(tmp_path, rows), SPEC)
        assert contents.embeddings.shape == (0, 4)
        assert contents.boxes.shape == (0, 4)


def test_a_gallery_of_another_model_is_refused_by_its_dimensions(tmp_path: Path) -> None:
    path = pickled(tmp_path, [row("a.jpg", [0.5] * 7), row("b.jpg", None)])

    with pytest.raises(SpecMismatch, match="4 dimensions"):
        read_pkl(path, SPEC)


def test_a_gallery_of_another_detector_is_refused_by_its_name(tmp_path: Path) -> None:
    path = pickled(tmp_path, [row("a.jpg", ANA)])

    with pytest.raises(SpecMismatch, match="detector: dlib there, mtcnn here"):
        read_pkl(path, dataclasses.replace(SPEC, detector="mtcnn"))


@pytest.mark.parametrize(
    "rows",
    [
        {"identity": "a.jpg"},
        ["a.jpg"],
        [{"identity": 3, "embedding": ANA}],
        [{"identity": "a.jpg", "embedding": ANA}],
        [row("a.jpg", "not numbers")],
        [row("a.jpg", [ANA, ANA])],
        [row("a.jpg", ["1", "2", "3", "4"])],
        [row("a.jpg", [10**400, 0, 0, 0])],
        [row("a.jpg", ANA) | {"target_x": "left"}],
        [row("a.jpg", ANA) | {"target_x": float("nan")}],
        [row("a.jpg", ANA) | {"target_x": 2**40}],
    ],
)
def test_rows_of_another_shape_are_damage(tmp_path: Path, rows: object) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        read_pkl(pickled(tmp_path, rows), SPEC)
    assert refused.value.error_code == "pkl_corrupt"


def test_a_file_that_is_gone_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        read_pkl(tmp_path / CURRENT, SPEC)
    assert refused.value.error_code == "pkl_unreadable"


def test_what_models_compute_is_kept_in_half_the_memory_and_what_they_do_not_is_kept_exactly(tmp_path: Path) -> None:
    of_a_model = np.array(ANA, np.float32) / np.float32(3)
    averaged = np.array(ANA) / 3
    tiny = [1e-30, 0.0, 0.0, 0.0]

    assert read_pkl(pickled(tmp_path, [row("a.jpg", of_a_model.tolist())]), SPEC).embeddings.dtype == np.float32
    for exact in (averaged.tolist(), tiny):
        contents = read_pkl(pickled(tmp_path, [row("a.jpg", exact)]), SPEC)
        assert contents.embeddings.dtype == np.float64
        assert contents.embeddings.tolist() == [exact]


FACES = [
    GalleryFace("Ana", "Ana/1.jpg", FaceBox(1, 2, 30, 40), np.array(ANA, np.float32)),
    GalleryFace("Ivan", "Ivan_2.jpg", FaceBox(5, 6, 7, 8), np.array(IVAN)),
]


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    for path, write in ((tmp_path / CURRENT, write_pkl), (tmp_path / NPZ, write_npz)):
        assert write(path, FACES, tmp_path) == 2
        contents = read_pkl(path, SPEC)
        assert contents.identities == [f"{tmp_path}/Ana/1.jpg", f"{tmp_path}/Ivan_2.jpg"]
        assert contents.embeddings.tolist() == [ANA, IVAN]
        assert contents.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]


def test_an_empty_gallery_can_be_written(tmp_path: Path) -> None:
    for path, write in ((tmp_path / CURRENT, write_pkl), (tmp_path / NPZ, write_npz)):
        assert write(path, [], tmp_path) == 0
        assert read_pkl(path, SPEC).identities == []


def test_a_written_pkl_holds_what_deepface_expects_and_nothing_else(tmp_path: Path) -> None:
    write_pkl(tmp_path / CURRENT, FACES, tmp_path)

    rows = pickle.loads((tmp_path / CURRENT).read_bytes())

    assert list(rows[0]) == ["identity", "hash", "embedding", "target_x", "target_y", "target_w", "target_h"]
    assert rows[0]["embedding"] == ANA
    assert {type(value) for value in rows[0].values()} == {str, list, int}


def test_a_gallery_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_pkl(tmp_path / CURRENT, FACES, tmp_path)
    before = (tmp_path / CURRENT).read_bytes()

    def interrupted() -> Any:
        yield FACES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pkl(tmp_path / CURRENT, interrupted(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CURRENT]
    assert (tmp_path / CURRENT).read_bytes() == before
