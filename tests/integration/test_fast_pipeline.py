"""The pipeline `fast` with DeepFace's real models on real faces, beside `deepface` on the same photos."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.adapters.deepface_engine import DeepFaceEngine, EngineOptions
from app.adapters.model_weights import WeightsRequest, ensure_weights
from app.domain import Face, ImageBgr, Photo
from app.images import ImageLimits, decode_photo
from app.services.ingest.embedding import FacePolicy, PhotoEmbedder
from app.services.matching import exact_distances
from app.timing import recording
from scripts import demo_faces
from tests.faces import known_face, several_faces, stranger

SIDE = 1280
DEMO_PERSONS = 20  # as `make run` has them
LIMITS = ImageLimits(max_pixels=80_000_000, enough_side=SIDE)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EngineOptions:
    home = tmp_path_factory.mktemp("models")
    report = ensure_weights(WeightsRequest(home, "Dlib", "dlib", "onnx", download=False))
    return EngineOptions("Dlib", "dlib", "onnx", home, report.recognizer_sha256, image_max_side=SIDE)


@pytest.fixture(scope="module")
def fast(options: EngineOptions) -> DeepFaceEngine:
    engine = DeepFaceEngine(replace(options, pipeline="fast"))
    engine.warm()
    return engine


@pytest.fixture(scope="module")
def deepface(options: EngineOptions) -> DeepFaceEngine:
    return DeepFaceEngine(options)


def scene(*faces: tuple[int, int, float], width: int = 2000, height: int = 1500) -> ImageBgr:
    """A grey photo with demo persons side by side, each given as number, side of the face in pixels and degrees."""
    canvas = np.full((height, width, 3), 127, dtype=np.uint8)
    for place, (number, side, angle) in enumerate(faces):
        photo = known_face(number)
        size = round(photo.shape[0] * side / 150)  # the face of a demo photo has 150 pixels
        sized = cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA if side < 150 else cv2.INTER_CUBIC)
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1.0)
        turned = cv2.warpAffine(sized, turn, (size, size), borderMode=cv2.BORDER_REPLICATE)
        left = (2 * place + 1) * width // (2 * len(faces)) - size // 2
        canvas[height // 2 - size // 2 :, left:][:size, :size] = turned
    return canvas


def encoded(image: ImageBgr, extension: str = ".jpg") -> bytes:
    return bytes(cv2.imencode(extension, image)[1])


def middles(faces: list[Face]) -> list[tuple[float, float]]:
    return sorted((face.box.x + face.box.w / 2, face.box.y + face.box.h / 2) for face in faces)


def test_it_finds_the_faces_of_deepface_with_boxes_in_the_same_places(
    fast: DeepFaceEngine, deepface: DeepFaceEngine
) -> None:
    photo = several_faces()

    found, same = fast.embed_faces(photo), deepface.embed_faces(photo)

    areas = [face.box.area for face in found]
    assert areas == sorted(areas, reverse=True)
    assert np.array(middles(found)) == pytest.approx(np.array(middles(same)), abs=15)


@pytest.mark.parametrize("photo", [known_face(), stranger()], ids=["small photo", "portrait"])
def test_its_embeddings_are_near_those_of_deepface(
    fast: DeepFaceEngine, deepface: DeepFaceEngine, photo: ImageBgr
) -> None:
    (ours,), (theirs,) = fast.embed_faces(photo), deepface.embed_faces(photo)

    assert exact_distances(theirs.embedding[np.newaxis], ours.embedding)[0] < fast.default_threshold


@pytest.mark.parametrize(
    "faces",
    [
        pytest.param([(0, 40, 0.0)], id="40 pixels"),
        pytest.param([(0, 64, 0.0), (5, 420, 0.0)], id="64 pixels beside a large face"),
        pytest.param([(0, 90, 30.0), (5, 420, 0.0)], id="turned and beside a large face"),
        pytest.param([(0, 120, 30.0)], id="turned by 30 degrees"),
        pytest.param([(5, 400, -30.0)], id="large and turned by -30 degrees"),
        pytest.param([(n, 70, 0.0) for n in range(8)], id="a group"),
    ],
)
def test_a_face_that_is_hard_to_find_in_a_large_photo_is_found(
    fast: DeepFaceEngine, faces: list[tuple[int, int, float]]
) -> None:
    photo = decode_photo(encoded(scene(*faces)), LIMITS)

    assert len(fast.embed_faces(photo)) == len(faces)


def test_a_face_too_small_for_the_working_copy_is_found_in_the_whole_of_a_jpeg(fast: DeepFaceEngine) -> None:
    jpeg = encoded(scene((0, 60, 0.0), width=4000, height=3000))

    photo = decode_photo(jpeg, LIMITS)
    (face,) = fast.embed_faces(photo)

    assert max(photo.pixels.shape) == 2000
    assert (face.box.x + face.box.w / 2, face.box.y + face.box.h / 2) == pytest.approx((2000, 1500), abs=20)


@pytest.mark.parametrize("above", [30, 70])
def test_a_face_whose_forehead_the_photo_cuts_off_is_found_inside_the_photo(fast: DeepFaceEngine, above: int) -> None:
    photo = np.ascontiguousarray(known_face(7)[above:])

    (face,) = fast.embed_faces(photo)

    assert 0 <= face.box.x < face.box.x + face.box.w <= photo.shape[1]
    assert 0 <= face.box.y < face.box.y + face.box.h <= photo.shape[0]


def test_a_jpeg_decoded_at_half_its_scale_shows_the_same_faces_in_pixels_of_the_original(fast: DeepFaceEngine) -> None:
    jpeg = encoded(scene((0, 500, 0.0), (5, 700, 0.0), width=2600, height=1800))
    reduced = decode_photo(jpeg, LIMITS)

    faces = fast.embed_faces(reduced)
    whole = fast.embed_faces(reduced.whole())

    assert max(reduced.pixels.shape) == 1300
    assert np.array(middles(faces)) == pytest.approx(np.array(middles(whole)), abs=15)
    for face, same in zip(faces, whole, strict=True):
        assert exact_distances(same.embedding[np.newaxis], face.embedding)[0] < 0.02


def test_a_video_frame_and_a_photo_of_the_same_pixels_give_the_same_faces(fast: DeepFaceEngine) -> None:
    frame = several_faces()

    as_frame, as_photo = fast.embed_faces(frame), fast.embed_faces(Photo.of(frame))

    assert [face.box for face in as_frame] == [face.box for face in as_photo]
    assert all(np.array_equal(a.embedding, b.embedding) for a, b in zip(as_frame, as_photo, strict=True))


def test_a_large_photo_enrolled_by_a_bulk_load_and_then_recognised_has_distance_0(fast: DeepFaceEngine) -> None:
    jpeg = encoded(scene((0, 600, 0.0), width=2600, height=1800))

    (enrolled,) = PhotoEmbedder(fast, LIMITS, 20, FacePolicy.LARGEST)(jpeg).faces
    (probe,) = fast.embed_faces(decode_photo(jpeg, LIMITS))

    assert exact_distances(enrolled.embedding[np.newaxis], probe.embedding)[0] == 0


@pytest.mark.parametrize(
    "changes",
    [{"align": False}, {"expand_percentage": 20}, {"normalization": "Facenet2018"}, {"detector": "opencv"}],
    ids=str,
)
def test_every_option_of_the_spec_shapes_the_embedding_as_it_does_in_deepface(
    options: EngineOptions, changes: dict[str, object]
) -> None:
    changed = replace(options, **changes)  # type: ignore[arg-type]
    theirs, *_ = DeepFaceEngine(changed).embed_faces(stranger())
    ours, *_ = DeepFaceEngine(replace(changed, pipeline="fast")).embed_faces(stranger())
    unchanged, *_ = DeepFaceEngine(replace(options, pipeline="fast")).embed_faces(stranger())

    near = exact_distances(np.array([theirs.embedding, unchanged.embedding]), ours.embedding)
    assert near[0] < 0.03
    assert near[1] > 0.001


def test_of_a_crowd_only_the_largest_faces_are_embedded(options: EngineOptions, fast: DeepFaceEngine) -> None:
    two = DeepFaceEngine(replace(options, pipeline="fast", max_faces=2)).embed_faces(several_faces())

    assert [face.box for face in two] == [face.box for face in fast.embed_faces(several_faces())[:2]]


@pytest.mark.parametrize("shape", [(480, 640), (16, 800), (1, 1), (1500, 2000)])
def test_a_photo_without_a_face_gives_an_empty_list(fast: DeepFaceEngine, shape: tuple[int, int]) -> None:
    assert fast.embed_faces(np.full((*shape, 3), 200, dtype=np.uint8)) == []


def test_detection_and_embedding_are_told_apart_in_the_timing(fast: DeepFaceEngine) -> None:
    with recording() as stages:
        fast.embed_faces(known_face())

    assert list(stages) == ["detect", "embed"]


def test_the_spec_says_which_pipeline_it_was(fast: DeepFaceEngine, deepface: DeepFaceEngine) -> None:
    assert fast.spec.pipeline == "fast"
    assert fast.spec.differences(deepface.spec.to_document()) == ["pipeline: deepface there, fast here"]


@pytest.mark.slow
def test_every_person_of_the_demo_is_found_by_a_probe_and_taken_for_nobody_else(fast: DeepFaceEngine) -> None:
    gallery = [(name, fast.embed_faces(photo)) for name, photo in demo_faces.gallery_photos(DEMO_PERSONS)]
    assert all(len(faces) == 1 for _, faces in gallery)
    names = np.array([name for name, _ in gallery])
    enrolled = np.array([faces[0].embedding for _, faces in gallery])

    for number in range(DEMO_PERSONS):
        (face,) = fast.embed_faces(known_face(number))
        distances = exact_distances(enrolled, face.embedding)
        own = names == demo_faces.person_name(number)
        assert distances[own].max() <= fast.default_threshold
        assert distances[~own].min() > fast.default_threshold
