"""Which gallery file belongs to a spec, and what its name tells."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from app.adapters.pkl.naming import pkl_names, pkl_path, recorded_spec, require_recorded_spec
from app.domain import EmbeddingSpec
from app.errors import SpecMismatch

SPEC = EmbeddingSpec(
    model="VGG-Face",
    weights_sha256="0" * 64,
    detector="retinaface",
    align=False,
    normalization="VGGFace2",
    expand_percentage=10,
    image_max_side=0,
    dimensions=4096,
)
CURRENT = "ds_model_vggface_detector_retinaface_unaligned_normalization_vggface2_expand_10"
OLDER = ("ds_vggface_retinaface_v2.pkl", "representations_vgg_face.pkl")


def test_the_names_are_those_deepface_gives() -> None:
    assert pkl_names(SPEC) == (f"{CURRENT}.pkl", f"{CURRENT}.npz", *OLDER)


def test_a_name_tells_what_its_generation_records() -> None:
    everything = {
        "model": "vggface",
        "detector": "retinaface",
        "align": False,
        "normalization": "vggface2",
        "expand_percentage": 10,
    }
    assert recorded_spec(Path(f"{CURRENT}.pkl")) == recorded_spec(Path(f"{CURRENT}.npz")) == everything
    assert recorded_spec(Path(OLDER[0])) == {"model": "vggface", "detector": "retinaface"}
    assert recorded_spec(Path(OLDER[1])) == {"model": "vggface"}
    assert recorded_spec(Path("serbia.pkl")) == {}


def test_a_model_with_an_underscore_is_found_again() -> None:
    buffalo = dataclasses.replace(SPEC, model="Buffalo_L")
    for name in pkl_names(buffalo):
        require_recorded_spec(Path(name), buffalo)


def test_the_file_of_the_spec_is_taken_before_older_generations(tmp_path: Path) -> None:
    for name in reversed(pkl_names(SPEC)):
        (tmp_path / name).touch()
        assert pkl_path(tmp_path, SPEC) == tmp_path / name


def test_a_file_of_another_spec_beside_the_right_one_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "ds_model_arcface_detector_mtcnn_aligned_normalization_base_expand_0.pkl").touch()
    (tmp_path / OLDER[0]).touch()

    assert pkl_path(tmp_path, SPEC) == tmp_path / OLDER[0]


def test_only_files_of_other_specs_are_refused_with_what_differs_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / CURRENT.replace("retinaface", "mtcnn").replace("unaligned", "aligned")).with_suffix(".pkl").touch()

    with pytest.raises(SpecMismatch) as refused:
        pkl_path(tmp_path, SPEC)

    assert "detector: mtcnn there, retinaface here; align: True there, False here" in refused.value.message
    assert "FACE_DETECTOR" in refused.value.message
    assert "model" not in str(refused.value.details["differences"])


def test_a_folder_without_a_gallery_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "something.pkl").touch()

    assert pkl_path(tmp_path, SPEC) is None
    assert pkl_path(tmp_path / "missing", SPEC) is None
