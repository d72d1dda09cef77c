"""The demo's video and what the quick start shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.adapters.video_file import probe, read_frames
from app.services.video.records import VideoLimits
from config import Settings
from scripts import demo_answers, demo_video, quickstart

LIMITS = VideoLimits(max_seconds=60, max_pixels=1_000_000)


def test_the_film_has_three_shots_and_is_the_same_everywhere(tmp_path: Path) -> None:
    here, there = (demo_video.write(tmp_path / place / "video.mp4") for place in ("here", "there"))

    assert here.read_bytes() == there.read_bytes()
    assert probe(here, LIMITS).duration_s == pytest.approx(7.5, abs=0.1)
    assert {frame.shot for frame in read_frames(here, 2, LIMITS)} == {0, 1, 2}
    assert list(here.parent.iterdir()) == [here]


def test_a_film_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = demo_video.write(tmp_path / "video.mp4")
    before = path.stat()

    assert demo_video.write(path).stat() == before


def test_the_table_tells_when_an_identity_is_seen_who_it_is_and_whose_profiles_match() -> None:
    shown = drawn(results())

    assert "0.0-2.1, 5.0-7.0   Person 001  0.023077   tiktok    0.977" in shown
    assert "twitter   0.977" in shown
    assert "unknown" in shown
    assert "none" in shown
    assert demo_answers.unsearched(results()) == []


def test_a_search_that_was_not_done_is_told_apart_from_one_that_found_nothing() -> None:
    failed = results() | {"profile_search": {"status": "failed", "reason": "MongoDB cannot be reached."}}

    assert "none" not in drawn(failed)
    assert "Person 001" in drawn(failed)
    (line,) = demo_answers.unsearched(failed)
    assert line.endswith("MongoDB cannot be reached.")


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    assert "…" not in drawn(results(), width=80)


def test_the_demo_searches_profiles_by_the_scale_of_its_model() -> None:
    chosen = quickstart.chosen(Settings(_env_file=None))

    assert chosen["profile_search_enabled"] is True
    assert chosen["profile_search_min_similarity"] == 0.93


def test_the_demo_leaves_what_the_operator_decided() -> None:
    given = {"profile_search_enabled": False, "profile_search_min_similarity": 0.8, "face_model": "ArcFace"}
    chosen = quickstart.chosen(Settings(_env_file=None, **given))

    assert not given.keys() & chosen.keys()


def test_another_models_profiles_are_not_searched_by_the_scale_of_the_demos() -> None:
    assert "profile_search_min_similarity" not in quickstart.chosen(Settings(_env_file=None, face_model="ArcFace"))


@pytest.mark.parametrize("store", ["milvus_uri", "mongo_uri", "s3_bucket"])
def test_an_index_of_the_operators_is_not_searched_unasked(store: str) -> None:
    given = Settings(_env_file=None, **{f"profile_search_{store}": "theirs"})

    assert "profile_search_enabled" not in quickstart.chosen(given)


def results() -> dict[str, Any]:
    known = {"name": "Person 001", "distance": 0.023077}
    profiles = [{"platform": name, "similarity": 0.9768} for name in ("tiktok", "twitter")]
    return {
        "identities": [identity(0, [(0.0, 2.1), (5.0, 7.0)], [known], profiles), identity(1, [(2.6, 4.6)], [], [])],
        "gallery_search": {"status": "ok", "reason": None},
        "profile_search": {"status": "ok", "reason": None},
    }


def identity(number: int, seen: list[tuple[float, float]], persons: list[Any], profiles: list[Any]) -> dict[str, Any]:
    return {
        "cluster_id": number,
        "face_count": 10,
        "timeline": [{"start_s": start, "end_s": end} for start, end in seen],
        "matches": persons,
        "profile_matches": profiles,
    }


def drawn(found: dict[str, Any], width: int = 120) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(demo_answers.render_video("A video", found))
    return capture.get()
