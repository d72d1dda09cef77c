"""What is a video and what is not, and which of its frames are looked at; no face and no model is needed for it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.adapters.video_file import VideoReader, probe
from app.domain import ImageBgr
from app.errors import TooLarge, UnsupportedVideo
from app.services.video.records import VideoLimits
from tests.videos import FPS, Film, Scene, encode, lay_on_its_side, write_film, write_sound, write_video

LIMITS = VideoLimits(max_seconds=60, max_pixels=1_000_000)
READER = VideoReader(LIMITS, sample_fps=2)
GREY = Film({}, (Scene(3.0, shade=90),))


def pictures(seconds: float, texture_seed: int = 0) -> Iterator[tuple[float, ImageBgr]]:
    """Frames that do not compress well, so that a file has a middle to be cut at."""
    noise = np.random.default_rng(texture_seed)
    for number in range(round(seconds * FPS)):
        yield number / FPS, noise.integers(0, 255, (90, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.webm", "libvpx"),
        ("a.mkv", "libvpx-vp9"),
        ("a.avi", "mjpeg"),
        ("a.ts", "mpeg2video"),
    ],
)
def test_a_video_is_known_by_its_content_whatever_it_is_called(tmp_path: Path, name: str, codec: str) -> None:
    if codec == "mjpeg":
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (640, 360))
        for _, picture in GREY.frames():
            writer.write(picture)
        writer.release()
    else:
        path = write_film(tmp_path / name, GREY, codec)
    facts = probe(path.rename(tmp_path / "upload"), LIMITS)
    assert (facts.width, facts.height, round(facts.fps), facts.frames) == (640, 360, FPS, 3 * FPS)
    assert facts.duration_s == pytest.approx(3.0, abs=0.1)


def still_image(path: Path) -> None:
    path.write_bytes(bytes(cv2.imencode(".jpg", np.full((90, 160, 3), 127, np.uint8))[1]))


def one_frame(path: Path) -> None:
    write_video(path, [(0.0, np.full((90, 160, 3), 127, np.uint8))])


def playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")


def file_list(path: Path) -> None:
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")


def without_its_index(path: Path) -> None:
    write_video(path, pictures(0.5))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise_behind_a_header(path: Path) -> None:
    path.write_bytes(b"\x00\x00\x00\x18ftypisom" + np.random.default_rng(0).bytes(5000))


@pytest.mark.parametrize(
    "make",
    [Path.touch, still_image, one_frame, playlist, file_list, write_sound, without_its_index, noise_behind_a_header],
)
def test_what_is_no_video_is_refused_with_a_reason(
    tmp_path: Path, make: Callable[[Path], object], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(UnsupportedVideo) as refusal:
        probe(path, LIMITS)
    assert refusal.value.status == 415
    assert "MP4" in refusal.value.message
    assert str(tmp_path) not in refusal.value.message
    assert capfd.readouterr().err == "", "FFmpeg and OpenCV wrote to the terminal"


def test_a_video_over_a_limit_is_refused(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", GREY)
    with pytest.raises(TooLarge) as too_long:
        probe(path, VideoLimits(max_seconds=1, max_pixels=1_000_000))
    with pytest.raises(TooLarge) as too_wide:
        probe(path, VideoLimits(max_seconds=60, max_pixels=640 * 359))
    assert (too_long.value.error_code, too_wide.value.error_code) == ("video_too_long", "too_many_pixels")


def test_a_video_that_hides_its_length_is_stopped_at_the_limit(tmp_path: Path) -> None:
    path = recorded_by_a_browser(tmp_path)
    limits = VideoLimits(max_seconds=1, max_pixels=1_000_000)
    assert probe(path, limits).duration_s == 0
    with pytest.raises(TooLarge):
        list(VideoReader(limits, 2).frames(path))


def test_a_video_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    times = [frame.at_s for frame in READER.frames(recorded_by_a_browser(tmp_path))]
    assert times[-1] == pytest.approx(2.6, abs=0.1)


def recorded_by_a_browser(folder: Path) -> Path:
    """A WebM written as it is recorded: nobody went back to its head to say how long it became."""

    class Sink(io.RawIOBase):
        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def writable(self) -> bool:
            return True

        def write(self, chunk: bytes) -> int:  # type: ignore[override]
            return self.file.write(chunk)

    path = folder / "recorded.webm"
    sink = Sink(path)
    encode(sink, "webm", GREY.frames(), "libvpx")
    sink.file.close()
    return path


def test_frames_are_looked_at_twice_a_second_and_where_a_shot_begins(tmp_path: Path) -> None:
    film = Film({}, (Scene(1.28, shade=60), Scene(1.48, shade=180), Scene(1.2, shade=60)))
    frames = list(READER.frames(write_film(tmp_path / "film.mp4", film)))
    assert [frame.shot for frame in frames] == sorted(frame.shot for frame in frames)
    begins = {frame.shot: frame.at_s for frame in reversed(frames)}
    assert list(begins) == [2, 1, 0]
    assert begins[1] == pytest.approx(1.28, abs=0.13)
    assert begins[2] == pytest.approx(2.76, abs=0.13)
    shown, given = zip(*((film.picture(frame.at_s).mean(), frame.pixels.mean()) for frame in frames), strict=True)
    assert shown == pytest.approx(given, abs=6)
    within = [b.at_s - a.at_s for a, b in pairwise(frames) if a.shot == b.shot]
    assert within == pytest.approx([0.52] * len(within), abs=0.021)


def test_uneven_frames_are_taken_by_their_own_times(tmp_path: Path) -> None:
    film = Film({}, (Scene(6.0, shade=90),), times=lambda n: n / 25 if n < 50 else 2 + (n - 50) / 5)
    frames = list(READER.frames(write_film(tmp_path / "film.mp4", film)))
    steps = np.diff([frame.at_s for frame in frames])
    assert frames[-1].at_s == pytest.approx(5.6, abs=0.21)
    assert steps.min() >= 0.499
    assert steps.max() <= 0.7


def test_a_phone_s_video_is_turned_upright(tmp_path: Path) -> None:
    upright = np.full((640, 360, 3), 90, np.uint8)
    upright[:200] = 230
    lying = np.rot90(upright)  # as the sensor sees it
    path = write_video(tmp_path / "phone.mp4", ((number / FPS, lying) for number in range(25)))
    lay_on_its_side(path)
    facts = probe(path, LIMITS)
    assert (facts.width, facts.height, facts.rotation) == (360, 640, 90)
    pixels = next(READER.frames(path)).pixels
    assert pixels.shape == (640, 360, 3)
    assert pixels[:150].mean() > 200
    assert pixels[250:].mean() < 120


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.ts", "mpeg2video"), ("a.avi", "mpeg4")])
def test_a_video_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, pictures(3.0), codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    probe(path, LIMITS)
    last_s = [frame.at_s for frame in READER.frames(path)][-1]
    assert 0.5 < last_s < 2.2


def test_a_reader_that_is_left_early_lets_go_of_the_file(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", GREY)
    before = threading.active_count()
    frames = READER.frames(path)
    next(frames)
    assert is_open(path)
    frames.close()
    assert not is_open(path)
    assert threading.active_count() == before


def is_open(path: Path) -> bool:
    links = (link for link in Path("/proc/self/fd").iterdir() if link.exists())
    return any(link.resolve() == path for link in links)
