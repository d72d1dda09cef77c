"""What the import says of a PKL before it carries anything over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.domain import FaceBox, GalleryFace
from app.gallery_matrix import GalleryMatrix
from app.services.transfer.gallery_lint import all_faces, lint, rebased


def face(person: str, image: str) -> GalleryFace:
    return GalleryFace(person, image, FaceBox(0, 0, 0, 0), np.ones(4, dtype=np.float32))


def matrix(*images: str) -> GalleryMatrix:
    people = [(image.split("/")[0], image) for image in images]
    embeddings = np.arange(1, 4 * len(images) + 1, dtype=np.float32).reshape(-1, 4)
    return GalleryMatrix.of(people, embeddings, np.zeros((len(images), 4), dtype=np.int32))


def test_rows_persons_and_what_was_left_out_are_counted(tmp_path: Path) -> None:
    found = lint([face("Ana", "Ana/1.jpg"), face("Ana", "Ana/2.jpg"), face("Bo", "Bo/1.jpg")], {"zero": 4}, tmp_path)
    assert (found.rows, found.persons, found.left_out) == (3, 2, {"zero": 4})


def test_an_image_that_does_not_exist_is_counted_once_however_many_faces_it_has(tmp_path: Path) -> None:
    (tmp_path / "Ana").mkdir()
    (tmp_path / "Ana" / "1.jpg").touch()
    faces = [face("Ana", "Ana/1.jpg"), face("Ana", "Ana/2.jpg"), face("Ana", "Ana/2.jpg")]
    assert lint(faces, {}, tmp_path).missing_images == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ana Anić", "ana anic"), ("Đorđe Šćepanović", "Djordje  Scepanovic"), ("Jean-Luc", "Jean Luc"), ("ẞa", "SSa")],
)
def test_names_alike_but_for_case_spacing_or_diacritics_are_shown_together(
    one: str, other: str, tmp_path: Path
) -> None:
    faces = [face(one, "a/1.jpg"), face(other, "b/1.jpg"), face("Somebody Else", "c/1.jpg")]
    assert lint(faces, {}, tmp_path).colliding_names == [sorted([one, other])]


@pytest.mark.parametrize(
    "prefix", ["/mnt/old/serbia", "mnt/old/serbia/", "C:\\mnt\\old\\serbia", "/elsewhere/mnt/old/serbia"]
)
def test_a_prefix_is_taken_off_and_the_persons_are_read_off_what_remains(prefix: str) -> None:
    gallery = rebased(matrix("mnt/old/serbia/Ana/1.jpg", "mnt/old/serbia/Bo_Bic_2.jpg", "else/Ceca/1.jpg"), prefix)
    assert {(face.person, face.image) for face in all_faces(gallery)} == {
        ("Ana", "Ana/1.jpg"),
        ("Bo Bic", "Bo_Bic_2.jpg"),
        ("else", "else/Ceca/1.jpg"),
    }


def test_rebasing_leaves_each_vector_with_its_image() -> None:
    before = matrix("old/b.jpg", "a/z.jpg", "old/Ana/1.jpg")
    vectors = {face.image.removeprefix("old/"): face.embedding.tolist() for face in all_faces(before)}
    assert {face.image: face.embedding.tolist() for face in all_faces(rebased(before, "/old"))} == vectors
