"""What a search plan is judged by: probes that are not in the gallery, the right answers, and the count of misses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import Match
from app.services.search.exact_answers import Answer, ExactAnswers
from app.services.search.plan import Share
from app.services.search.templates import directions
from app.services.search.trials import can_be_certain, hits, reached
from app.services.search.unseen import UnseenProbes, draw

D = 128


def gallery(persons: int, images: int, within: float, seed: int = 1) -> dict[int, NDArray[np.float32]]:
    """Persons whose images lie around a centre with this variance, all of length 1 on average."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(persons, 1, D)) * np.sqrt((1 - within) / D)
    noise = rng.normal(size=(persons, images, D)) * np.sqrt(within / D)
    return {n + 1: directions((centres[n] + noise[n]).astype(np.float32)) for n in range(persons)}


def unseen(faces: dict[int, NDArray[np.float32]], count: int = 300) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The persons of the probes, and the probes."""
    rng = np.random.default_rng(7)
    drawn = draw({person: len(images) for person, images in faces.items()}, count, rng)
    probes = UnseenProbes(drawn, D, 0.68, rng)
    for person in probes.needed:
        probes.add(person, faces[person])
    return drawn.persons, probes.directions()


@pytest.mark.parametrize("images", [2, 5, 40])
def test_a_probe_is_as_like_its_person_as_their_images_are_to_each_other(images: int) -> None:
    faces = gallery(200, images, within=0.45)
    persons, probes = unseen(faces)
    to_own = [float((faces[int(person)] @ probe).mean()) for person, probe in zip(persons, probes, strict=True)]
    assert np.mean(to_own) == pytest.approx(0.55, abs=0.04)


def test_a_person_of_one_image_is_not_asked_for_by_that_image() -> None:
    several, alone = gallery(100, 6, within=0.45), gallery(100, 1, within=0.45, seed=2)
    faces = several | {person + 100: images for person, images in alone.items()}
    persons, probes = unseen(faces)
    of_alone = [float(faces[int(p)][0] @ q) for p, q in zip(persons, probes, strict=True) if p > 100]
    assert np.mean(of_alone) == pytest.approx(0.55, abs=0.06)


def test_no_probe_lies_in_the_gallery_or_looks_like_the_images_it_borrows_from() -> None:
    faces = gallery(60, 8, within=0.45)
    persons, probes = unseen(faces)
    for person, probe in zip(persons, probes, strict=True):
        others = np.concatenate([images for other, images in faces.items() if other != person])
        assert (faces[int(person)] @ probe).max() < 0.95
        assert (others @ probe).max() < 0.6


def test_where_nobody_has_two_images_probes_are_made_all_the_same() -> None:
    faces = gallery(50, 1, within=0.45)
    persons, probes = unseen(faces)
    own = [float(faces[int(person)][0] @ probe) for person, probe in zip(persons, probes, strict=True)]
    assert np.allclose(np.linalg.norm(probes, axis=1), 1.0, atol=1e-5)
    assert 0.32 < min(own) <= max(own) < 0.99


def test_the_right_answers_are_those_of_measuring_everything_in_one_go() -> None:
    faces = gallery(90, 4, within=0.6)
    persons = np.repeat(list(faces), 4)
    rows = np.concatenate(list(faces.values()))
    _, probes = unseen(faces, 50)
    exact = ExactAnswers(probes)
    for start in range(0, len(rows), 28):  # seven persons at a time
        exact.add(persons[start : start + 28], rows[start : start + 28])
    best = (probes @ rows.T).reshape(len(probes), 90, 4).max(axis=2)
    for answer, row in zip(exact.within(0.9), best, strict=True):
        order = np.argsort(-row)[:5]
        right = [int(place) for place in order if 1 - row[place] <= 0.9]
        assert answer.persons == tuple(place + 1 for place in right)
        assert answer.distances == pytest.approx([1 - row[place] for place in right], abs=1e-6)


def test_rows_that_are_not_ordered_by_person_are_refused() -> None:
    exact = ExactAnswers(np.eye(4, dtype=np.float32))
    with pytest.raises(ValueError, match="ordered"):
        exact.add(np.array([2, 1]), np.eye(4, dtype=np.float32)[:2])


def found(*persons: tuple[str, float]) -> tuple[Match, ...]:
    return tuple(Match(name, f"{name}.jpg", distance, 0.0) for name, distance in persons)


NAMES = {1: "Ana", 2: "Bojan", 3: "Ceca"}
ANSWER = Answer((1, 2, 3), (0.1, 0.2, 0.3))


def test_each_person_who_is_missing_counts_as_one_miss() -> None:
    assert hits(ANSWER, found(("Ana", 0.1), ("Bojan", 0.2), ("Ceca", 0.3)), NAMES) == [True, True, True]
    assert hits(ANSWER, found(("Ana", 0.1), ("Ceca", 0.3)), NAMES) == [True, False, True]
    assert hits(ANSWER, found(("Bojan", 0.2), ("Ceca", 0.3)), NAMES) == [False, True, True]
    assert hits(ANSWER, (), NAMES) == [False, False, False]


def test_somebody_else_at_the_same_distance_is_no_miss() -> None:
    assert hits(ANSWER, found(("Dana", 0.1), ("Bojan", 0.2), ("Emil", 0.3)), NAMES) == [True, True, True]


def test_the_best_person_by_another_image_is_a_miss() -> None:
    assert hits(ANSWER, found(("Ana", 0.15), ("Bojan", 0.2), ("Ceca", 0.3)), NAMES)[0] is False


def test_a_target_is_reached_by_the_interval_and_by_the_share_only_where_the_sample_is_small() -> None:
    assert reached(Share(1.0, 0.9990, 1.0), 0.999, 3838)
    assert not reached(Share(0.9995, 0.9985, 0.9999), 0.999, 4000)
    assert reached(Share(1.0, 0.96, 1.0), 0.999, 100)
    assert not reached(Share(0.99, 0.94, 0.999), 0.999, 100)
    assert can_be_certain(0.999, 3838)
    assert not can_be_certain(0.999, 3837)
