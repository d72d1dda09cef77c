"""Opening a stranger's video costs the service nothing, whatever the file does to the program that opens it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.adapters import video_probe
from app.adapters.video_file import probe
from app.adapters.video_probe import probe_apart
from app.errors import TooLarge, UnsupportedVideo
from app.services.video.records import VideoLimits
from tests.videos import write_video

LIMITS = VideoLimits(max_seconds=60.0, max_pixels=1_000_000)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    grey = np.full((120, 160, 3), 127, dtype=np.uint8)
    return write_video(tmp_path / "video.mp4", [(i / 25, grey) for i in range(25)])


def test_the_facts_are_the_same_as_in_this_process(video: Path) -> None:
    assert probe_apart(video, LIMITS) == probe(video, LIMITS)


def test_what_is_refused_there_is_refused_here_with_the_same_words(video: Path, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="megapixels") as too_large:
        probe_apart(video, VideoLimits(60.0, 100))
    assert too_large.value.error_code == "too_many_pixels"
    text = tmp_path / "video.avi"
    text.write_text("no video at all")
    with pytest.raises(UnsupportedVideo) as here:
        probe(text, LIMITS)
    with pytest.raises(UnsupportedVideo) as there:
        probe_apart(text, LIMITS)
    assert str(here.value) == str(there.value)


def test_a_file_that_breaks_the_other_process_is_no_video(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_probe, "_ARGUMENTS", ("-c", "import os; os.abort()"))
    with pytest.raises(UnsupportedVideo, match="broke the program"):
        probe_apart(video, LIMITS)


def test_a_file_that_takes_too_long_is_no_video(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_probe, "_LIMIT_S", 0.01)
    with pytest.raises(UnsupportedVideo, match="too long to open"):
        probe_apart(video, LIMITS)


def test_the_other_process_gets_no_secret(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setattr(video_probe, "_ARGUMENTS", ("-c", "import os, sys; sys.exit('DATABASE_URL' in os.environ)"))
    with pytest.raises(ValueError, match="Expecting value"):  # it ended well, and said nothing
        probe_apart(video, LIMITS)
