"""The pipeline: once per photo, in the mode that is set, and no further than it has to go."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.controllers.recognition_controller import PhotoLimits, RecognitionController
from app.domain import Face, FaceBox, ImageBgr, Match, Mode, RecognizedFace
from app.errors import NoFace, StoreUnavailable, UnknownDomain
from app.images import ImageLimits

LIMITS = PhotoLimits(ImageLimits(max_pixels=1_000_000), min_face_px=20)


class FakeEngine:
    """Finds the faces it was told to find, and counts how often it was asked."""

    def __init__(self, *sides: int) -> None:
        self.calls = 0
        self._faces = [Face(FaceBox(0, 0, side, side), np.full(4, float(side)), 1.0) for side in sides]

    def embed_faces(self, image_bgr: ImageBgr) -> list[Face]:
        self.calls += 1
        return self._faces


class FakeGallery:
    """Knows one person in one domain, and remembers the vectors it was given."""

    def __init__(self, person: str | None = "Ana") -> None:
        self.seen: list[Any] = []
        self._matches = (Match(person, "Ana/1.jpg", 0.1, 90.0),) if person else ()

    answers_dual_mode = False

    def domains(self) -> frozenset[str]:
        return frozenset({"serbia"})

    def recognize_faces(self, faces: list[Face], domain: str) -> list[RecognizedFace]:
        self.seen.append([face.embedding for face in faces])
        return [RecognizedFace(face.box, self._matches) for face in faces]

    recognize_face_pgvector = recognize_faces

    def recognize_face_dual_mode(self, faces: list[Face], domain: str, control: Any) -> dict[str, Any]:
        shadow = self.recognize_faces(faces, domain)
        return {"recognized_faces": [f.to_json() for f in control()], "pgvector_results": [f.to_json() for f in shadow]}


def photo() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def controller(mode: Mode, engine: FakeEngine, **galleries: FakeGallery | None) -> RecognitionController:
    pkl, pgvector = galleries.get("pkl"), galleries.get("pgvector")
    return RecognitionController(engine, LIMITS, mode, pkl, pgvector)  # type: ignore[arg-type]


def test_pkl_mode_asks_the_pkl_alone() -> None:
    pkl, pgvector = FakeGallery(), FakeGallery("Bojan")
    answer = controller(Mode.PKL, FakeEngine(50), pkl=pkl, pgvector=pgvector).recognize_face(photo(), "serbia")
    assert (answer["status"], answer["mode"], answer["recognized_faces"][0]["name"]) == ("success", "pkl", "Ana")
    assert not {"pgvector_results", "comparison"} & set(answer)
    assert pgvector.seen == []


def test_dual_mode_embeds_once_and_gives_both_galleries_the_same_vectors() -> None:
    engine, pkl, pgvector = FakeEngine(50, 40), FakeGallery(), FakeGallery()
    controller(Mode.DUAL, engine, pkl=pkl, pgvector=pgvector).recognize_face(photo(), "serbia")
    assert engine.calls == 1
    assert all(a is b for a, b in zip(pkl.seen[0], pgvector.seen[0], strict=True))


def test_pgvector_mode_needs_no_pkl() -> None:
    answer = controller(Mode.PGVECTOR, FakeEngine(50), pgvector=FakeGallery()).recognize_face(photo(), "serbia")
    assert (answer["mode"], answer["recognized_faces"][0]["name"]) == ("pgvector", "Ana")


@pytest.mark.parametrize("mode", list(Mode))
def test_the_test_endpoint_answers_from_pgvector_in_every_mode(mode: Mode) -> None:
    asked = controller(mode, FakeEngine(50), pkl=FakeGallery("Bojan"), pgvector=FakeGallery("Ana"))
    answer = asked.recognize_face_pgvector_test(photo(), "serbia")
    assert (answer["mode"], answer["recognized_faces"][0]["name"]) == ("pgvector", "Ana")


def test_the_test_endpoint_without_a_database_says_so() -> None:
    with pytest.raises(StoreUnavailable, match="DATABASE_URL"):
        controller(Mode.PKL, FakeEngine(50), pkl=FakeGallery()).recognize_face_pgvector_test(photo(), "serbia")


def test_an_unknown_domain_is_refused_before_the_photo_costs_anything() -> None:
    engine = FakeEngine(50)
    with pytest.raises(UnknownDomain):
        controller(Mode.PKL, engine, pkl=FakeGallery()).recognize_face(photo(), "atlantis")
    assert engine.calls == 0


def test_in_dual_mode_the_gallery_that_answers_says_which_domains_there_are() -> None:
    pkl, pgvector = FakeGallery(), FakeGallery()
    pkl.domains = frozenset  # type: ignore[method-assign,assignment]
    pgvector.answers_dual_mode = True
    answer = controller(Mode.DUAL, FakeEngine(50), pkl=pkl, pgvector=pgvector).recognize_face(photo(), "serbia")
    assert answer["mode"] == "dual"


def test_a_photo_without_a_face_is_refused() -> None:
    with pytest.raises(NoFace) as caught:
        controller(Mode.PKL, FakeEngine(), pkl=FakeGallery()).recognize_face(photo(), "serbia")
    assert caught.value.error_code == "no_face"


def test_small_faces_are_left_out_and_a_photo_of_only_small_ones_is_refused() -> None:
    answer = controller(Mode.PKL, FakeEngine(50, 10), pkl=FakeGallery()).recognize_face(photo(), "serbia")
    assert len(answer["recognized_faces"]) == 1
    with pytest.raises(NoFace) as caught:
        controller(Mode.PKL, FakeEngine(10, 5), pkl=FakeGallery()).recognize_face(photo(), "serbia")
    assert caught.value.error_code == "face_too_small"


def test_somebody_unknown_has_nulls_and_no_matches() -> None:
    answer = controller(Mode.PKL, FakeEngine(50), pkl=FakeGallery(None)).recognize_face(photo(), "serbia")
    face = answer["recognized_faces"][0]
    assert [face[key] for key in ("name", "distance", "similarity", "confidence", "image")] == [None] * 5
    assert face["matches"] == []
