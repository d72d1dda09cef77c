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
        "pipeline": "deepface",
        "model": "vggface",
        "detector": "retinaface",
        "align": False,
        "normalization": "vggface2",
        "expand_percentage": 10,
    }
    assert recorded_spec(Path(f"{CURRENT}.pkl")) == recorded_spec(Path(f"{CURRENT}.npz")) == everything
    assert recorded_spec(Path(OLDER[0])) == {
        "pipeline": "deepface",
        "model": "vggface",
        "detector": "retinaface",
    }
    assert recorded_spec(Path(OLDER[1])) == {"pipeline": "deepface", "model": "vggface"}
    assert recorded_spec(Path("serbia.pkl")) == {"pipeline": "deepface"}


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


FAST = dataclasses.replace(SPEC, pipeline="fast")


def test_a_gallery_of_the_fast_pipeline_has_a_name_that_deepface_does_not_look_for() -> None:
    assert pkl_names(FAST) == (f"fast_{CURRENT}.pkl", f"fast_{CURRENT}.npz")
    assert recorded_spec(Path(f"fast_{CURRENT}.pkl"))["pipeline"] == "fast"
    require_recorded_spec(Path(f"fast_{CURRENT}.pkl"), FAST)


@pytest.mark.parametrize("name", [*pkl_names(SPEC), "serbia.pkl"])
def test_what_deepface_made_is_refused_with_the_fast_pipeline_whatever_its_name(name: str) -> None:
    with pytest.raises(SpecMismatch) as refused:
        require_recorded_spec(Path(name), FAST)

    assert "pipeline: deepface there, fast here" in refused.value.message
    assert "FACE_PIPELINE" in refused.value.message


@pytest.mark.parametrize(("there", "here"), [(SPEC, FAST), (FAST, SPEC)], ids=["deepface there", "fast there"])
def test_a_folder_with_a_gallery_of_the_other_pipeline_alone_is_refused(
    tmp_path: Path, there: EmbeddingSpec, here: EmbeddingSpec
) -> None:
    (tmp_path / pkl_names(there)[0]).touch()

    with pytest.raises(SpecMismatch, match=f"pipeline: {there.pipeline} there, {here.pipeline} here"):
        pkl_path(tmp_path, here)


def test_galleries_of_both_pipelines_lie_beside_each_other(tmp_path: Path) -> None:
    for spec in (SPEC, FAST):
        (tmp_path / pkl_names(spec)[0]).touch()

    assert pkl_path(tmp_path, SPEC) == tmp_path / pkl_names(SPEC)[0]
    assert pkl_path(tmp_path, FAST) == tmp_path / pkl_names(FAST)[0]
