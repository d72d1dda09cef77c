"""What `bench.recognize` compares is comparable: strangers are strangers, and the goals' figures are what they say."""

from __future__ import annotations

import argparse

import numpy as np

from app.domain import FaceBox, GalleryFace
from bench.recognize import _ratios
from bench.recognize_gallery import _strangers

DLIB_THRESHOLD = 0.07


def distance(a: GalleryFace, b: GalleryFace) -> float:
    return 1.0 - float(a.embedding @ b.embedding / np.linalg.norm(a.embedding) / np.linalg.norm(b.embedding))


def test_a_stranger_is_near_to_their_other_photos_and_to_nobody_else() -> None:
    random = np.random.default_rng(1)
    enrolled = [GalleryFace(f"P{n}", f"P{n}/1.jpg", FaceBox(0, 0, 9, 9), random.normal(0, 0.1, 128)) for n in range(4)]
    strangers = _strangers(enrolled, 40)
    assert len(strangers) == 40
    for a in strangers:
        assert all((distance(a, b) < DLIB_THRESHOLD) == (a.person == b.person) for b in strangers)
        assert all(distance(a, b) > DLIB_THRESHOLD for b in enrolled)


def test_the_goals_are_ratios_of_what_was_measured() -> None:
    def measured(rps: float, p50_ms: float, p95_ms: float) -> dict[str, float]:
        return {"throughput_rps": rps, "p50_ms": p50_ms, "p95_ms": p95_ms, "cpu_s_per_request": 0.1}

    figures = {
        "pkl": {"1": measured(9, 100, 110), "8": measured(18, 420, 500)},
        "dual": {"1": measured(8, 104, 115), "8": measured(15, 440, 600)},
        "deepface": {"1": measured(3, 300, 330), "8": measured(5, 1500, 1700)},
    }
    asked = argparse.Namespace(clients=[1, 8], modes=["pkl", "dual"])
    ratios = _ratios(figures, asked, cores=2)
    assert ratios["speedup_vs_deepface"] == 3.0  # the slower mode's best against DeepFace's best
    assert ratios["dual_over_pkl_p50"] == 1.04
    assert ratios["p95_over_ideal_at_8"] == 1.5  # 600 ms against 8 clients x 100 ms over 2 cores
