"""The engine with DeepFace's real models (Dlib and the detector dlib) on real faces."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.deepface_engine import DeepFaceEngine, EngineOptions
from app.adapters.model_weights import WeightsRequest, ensure_weights
from app.domain import Face, ImageBgr
from app.services.matching import exact_distances
from scripts import demo_faces
from tests.faces import known_face, labelled_photos, several_faces, stranger

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EngineOptions:
    home = tmp_path_factory.mktemp("models")
    report = ensure_weights(WeightsRequest(home, "Dlib", "dlib", "onnx", download=False))
    return EngineOptions("Dlib", "dlib", "onnx", home, report.recognizer_sha256)


@pytest.fixture(scope="module")
def engine(options: EngineOptions) -> DeepFaceEngine:
    engine = DeepFaceEngine(options)
    engine.warm()
    return engine


@pytest.fixture(scope="module")
def deepface_represent(engine: DeepFaceEngine) -> Callable[..., list[dict[str, Any]]]:
    """`DeepFace.represent` itself; importing it changes the environment and the warnings of the whole process."""
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("TF_USE_LEGACY_KERAS", "0")
        from deepface import DeepFace

    represent: Callable[..., list[dict[str, Any]]] = DeepFace.represent
    return represent


def embeddings(faces: list[Face]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([face.embedding for face in faces])


def left_edge(face: Face) -> int:
    return face.box.x


def one_process(code: str, *arguments: str) -> Any:
    """What a fresh interpreter prints as JSON; that it prints nothing else is a part of what is tested."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("photo", [known_face(), known_face(5), stranger(), several_faces()])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"align": False},
        {"expand_percentage": 20},
        {"normalization": "Facenet2018"},
        {"detector": "opencv"},
    ],
    ids=str,
)
def test_embeddings_and_boxes_are_those_of_deepface_represent(
    options: EngineOptions,
    deepface_represent: Callable[..., list[dict[str, Any]]],
    photo: ImageBgr,
    changes: dict[str, Any],
) -> None:
    changed = replace(options, **changes)
    theirs = deepface_represent(
        photo,
        model_name="Dlib",
        detector_backend=changed.detector,
        align=changed.align,
        expand_percentage=changed.expand_percentage,
        normalization=changed.normalization,
    )

    ours = DeepFaceEngine(changed).embed_faces(photo)

    assert {tuple(face.embedding) for face in ours} == {tuple(each["embedding"]) for each in theirs}
    assert {(face.box.x, face.box.y, face.box.w, face.box.h) for face in ours} == {
        tuple(each["facial_area"][side] for side in "xywh") for each in theirs
    }


def test_several_faces_come_largest_first_with_boxes_inside_the_photo(engine: DeepFaceEngine) -> None:
    photo = several_faces()
    faces = engine.embed_faces(photo)

    areas = [face.box.area for face in faces]
    assert len(faces) == 4
    assert areas == sorted(areas, reverse=True)
    for face in faces:
        assert 0 <= face.box.x < face.box.x + face.box.w <= photo.shape[1]
        assert 0 <= face.box.y < face.box.y + face.box.h <= photo.shape[0]
        assert face.embedding.shape == (128,)
        assert face.embedding.dtype == np.float64
        assert 0.0 <= face.detection_confidence <= 1.0


def test_boxes_of_a_photo_that_was_reduced_are_in_pixels_of_the_original(options: EngineOptions) -> None:
    photo = several_faces()
    whole = DeepFaceEngine(replace(options, image_max_side=0)).embed_faces(photo)
    reduced = DeepFaceEngine(replace(options, image_max_side=900)).embed_faces(photo)

    assert len(reduced) == len(whole)
    for face, same in zip(sorted(reduced, key=left_edge), sorted(whole, key=left_edge), strict=True):
        middle = (face.box.x + face.box.w / 2, face.box.y + face.box.h / 2)
        assert middle == pytest.approx((same.box.x + same.box.w / 2, same.box.y + same.box.h / 2), abs=15)


@pytest.mark.parametrize(
    "part", [np.s_[:, :150], np.s_[:, 90:], np.s_[:160], np.s_[80:]], ids=["right", "left", "below", "above"]
)
def test_the_box_of_a_face_that_the_photo_cuts_off_stays_inside_the_photo(engine: DeepFaceEngine, part: Any) -> None:
    photo = np.ascontiguousarray(known_face(7)[part])

    (face,) = engine.embed_faces(photo)
    assert 0 <= face.box.x < face.box.x + face.box.w <= photo.shape[1]
    assert 0 <= face.box.y < face.box.y + face.box.h <= photo.shape[0]


def test_of_a_crowd_only_the_largest_faces_are_embedded(options: EngineOptions, engine: DeepFaceEngine) -> None:
    two = DeepFaceEngine(replace(options, max_faces=2)).embed_faces(several_faces())

    largest = [(face.box.w, face.box.h) for face in engine.embed_faces(several_faces())[:2]]
    assert [(face.box.w, face.box.h) for face in two] == largest


@pytest.mark.parametrize("shape", [(480, 640), (16, 800), (1, 1)])
def test_a_photo_without_a_face_gives_an_empty_list(engine: DeepFaceEngine, shape: tuple[int, int]) -> None:
    assert engine.embed_faces(np.full((*shape, 3), 200, dtype=np.uint8)) == []


def test_eight_threads_get_the_embeddings_of_one(engine: DeepFaceEngine) -> None:
    photos = [known_face(0), several_faces(), stranger(), known_face(1)]
    alone = [embeddings(engine.embed_faces(photo)) for photo in photos]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(engine.embed_faces, photos * 4))

    assert all(np.array_equal(embeddings(faces), alone[i % 4]) for i, faces in enumerate(together))


def test_the_spec_is_known_without_loading_anything(options: EngineOptions) -> None:
    spec = DeepFaceEngine(options).spec

    assert (spec.model, spec.detector, spec.dimensions) == ("Dlib", "dlib", 128)
    assert spec.weights_sha256 == options.weights_sha256
    assert (spec.colour_order, spec.pipeline, spec.image_max_side) == ("bgr", "deepface", 1280)


@pytest.mark.parametrize(("distance", "verified"), [(0.0, True), (0.03, True), (0.07, True), (0.071, False)])
def test_confidence_and_threshold_are_deepfaces(engine: DeepFaceEngine, distance: float, verified: bool) -> None:
    from deepface.modules.verification import find_confidence, find_threshold

    assert engine.confidence_of(distance, verified) == find_confidence(distance, "Dlib", verified, "cosine")
    assert engine.default_threshold == find_threshold("Dlib", "cosine")


def test_importing_the_engine_loads_nothing_heavy_and_dlib_needs_neither_runtime(options: EngineOptions) -> None:
    code = """
import json, sys
from pathlib import Path
from app.adapters.deepface_engine import DeepFaceEngine, EngineOptions
heavy = lambda: sorted({"deepface", "dlib", "onnxruntime", "tensorflow", "keras", "pandas"} & set(sys.modules))
imported = heavy()
engine = DeepFaceEngine(EngineOptions("Dlib", "dlib", "onnx", Path(sys.argv[1]), sys.argv[2]))
made = heavy()
engine.warm()
print(json.dumps([imported, made, heavy()]))
"""
    imported, made, warmed = one_process(code, str(options.home), options.weights_sha256)

    assert imported == made == []
    assert set(warmed) == {"deepface", "dlib"}


@pytest.mark.slow
def test_every_demo_person_is_found_by_a_probe_and_taken_for_nobody_else(engine: DeepFaceEngine) -> None:
    gallery = [(name, engine.embed_faces(photo)) for name, photo in demo_faces.gallery_photos(demo_faces.MAX_PERSONS)]
    assert all(len(faces) == 1 for _, faces in gallery)
    names = np.array([name for name, _ in gallery])
    enrolled = np.array([faces[0].embedding for _, faces in gallery])

    for number in range(demo_faces.MAX_PERSONS):
        (face,) = engine.embed_faces(known_face(number))
        distances = exact_distances(enrolled, face.embedding)
        own = names == demo_faces.person_name(number)
        assert distances[own].max() < 0.04
        assert distances[~own].min() > engine.default_threshold + 0.01
    (unknown,) = engine.embed_faces(stranger())
    assert exact_distances(enrolled, unknown.embedding).min() > engine.default_threshold + 0.01


def test_the_photo_of_several_shows_whom_it_says_from_left_to_right(engine: DeepFaceEngine) -> None:
    gallery = [(name, engine.embed_faces(photo)[0]) for name, photo in demo_faces.gallery_photos(8)]
    enrolled = embeddings([face for _, face in gallery])

    shown = []
    for face in sorted(engine.embed_faces(several_faces()), key=left_edge):
        distances = exact_distances(enrolled, face.embedding)
        nearest = int(distances.argmin())
        shown.append(gallery[nearest][0] if distances[nearest] <= engine.default_threshold else None)
    assert tuple(shown) == demo_faces.several_faces()[1]


def test_real_photos_of_one_person_are_nearer_than_those_of_two(options: EngineOptions) -> None:
    labelled = labelled_photos()
    engine = DeepFaceEngine(replace(options, image_max_side=640))
    faces = {name: engine.embed_faces(photo) for name, photo in labelled.photos.items()}
    assert all(len(found) == 1 for found in faces.values())

    distances: dict[bool, list[float]] = {True: [], False: []}
    for first, second, same in labelled.pairs:
        probe = faces[second][0].embedding
        distances[same].append(float(exact_distances(embeddings(faces[first]), probe)[0]))
    assert max(distances[True]) < 0.08
    assert min(distances[False]) > 0.11
    assert len(engine.embed_faces(labelled.two_faces)) == 2
