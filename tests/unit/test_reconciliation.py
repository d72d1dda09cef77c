"""How a PKL and a database of one domain are compared face by face."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from app.domain import FaceBox, GalleryFace
from app.errors import Conflict
from app.services.stored_values import vector_of
from app.services.transfer.binary_copy import sent_vector
from app.services.transfer.reconciliation import Difference, as_in_pkl, compare
from app.services.transfer.stored_faces import FaceKey

ANA = GalleryFace("Ana", "Ana/1.jpg", FaceBox(1, 2, 3, 4), np.linspace(0.1, 1.7, 8))


def stored(face: GalleryFace) -> tuple[str, FaceKey, bytes]:
    vector = np.asarray(face.embedding, dtype=np.float32)
    return face.person, (face.image, face.box), hashlib.sha256(sent_vector(vector)).digest()


def key(face: GalleryFace) -> FaceKey:
    return face.image, face.box


def test_galleries_that_differ_only_by_the_rounding_to_float32_are_equal() -> None:
    assert compare([ANA], [stored(ANA)]) == Difference(1, (), (), (), ())
    assert compare([ANA], [stored(ANA)]).is_none


def test_what_one_side_lacks_is_told_with_the_face() -> None:
    other_box = replace(ANA, box=FaceBox(9, 9, 9, 9))
    difference = compare([ANA], [stored(other_box)])
    assert (difference.only_in_pkl, difference.only_in_database) == ((key(ANA),), (key(other_box),))


def test_another_vector_and_another_person_are_told_apart() -> None:
    moved = replace(ANA, image="Ana/2.jpg")
    other_vector = replace(ANA, embedding=ANA.embedding + 1e-6)
    difference = compare([ANA, moved], [stored(other_vector), stored(replace(moved, person="Bojan"))])
    assert (difference.other_vector, difference.other_person) == ((key(ANA),), (key(moved),))
    assert difference.to_load == {key(ANA), key(moved)}


def test_a_person_the_path_does_not_name_goes_below_a_folder_of_that_name_and_still_compares_equal() -> None:
    renamed = replace(ANA, person="Ana Marija")
    exported = as_in_pkl(renamed)
    assert (exported.person, exported.image) == ("Ana Marija", "Ana Marija/Ana/1.jpg")
    assert compare([exported], [stored(renamed)]).is_none
    assert as_in_pkl(ANA) is ANA


@pytest.mark.parametrize("name", ["A/B", " Ana ", "Ana  Marija"])
def test_a_name_that_no_path_can_say_is_refused_without_naming_it(name: str) -> None:
    with pytest.raises(Conflict) as refused:
        as_in_pkl(replace(ANA, person=name))
    assert name not in refused.value.message


def test_examples_are_limited_and_counts_are_not() -> None:
    faces = [replace(ANA, image=f"Ana/{number}.jpg") for number in range(30)]
    document = compare(faces, []).to_document(examples=2)
    assert (document["only_in_pkl"], len(document["examples"]["only_in_pkl"])) == (30, 2)


def test_a_vector_survives_the_database_form() -> None:
    vector = np.array([1.5, -0.0, 3e-39, 3.4e38], dtype=np.float32)
    assert vector_of(memoryview(sent_vector(vector))).tobytes() == vector.tobytes()
