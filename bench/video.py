"""How fast a video becomes identities, where the time goes, and whether memory stays flat over a long one.

    python -m bench.video [--minutes 30] [--pipeline fast] [--peer-seconds 20] [--persons 12]

The video is made of the demo's faces: 640 x 360 at 25 frames a second, shots of four seconds with nobody, one or two of
the persons moving through the picture. Two frames a second are looked at, on one process, by Dlib with the dlib
detector. The peer is the loop that is written first: seek to each of the same times, decode, `DeepFace.represent`; it
gets the first `--peer-seconds`, which we analyse again for the ratio. The last line is JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.bootstrap import Container
from app.bootstrap_video import video_analyser, video_reader
from app.domain import Face, ImageBgr
from app.logs import configure_logging
from app.services.video.analysis import AnalysisOptions, FoundTracks, VideoAnalyser
from app.services.video.records import OUTLIERS, Frame, VideoAnalysis, VideoFacts
from bench import reporting
from bench.process_memory import own_memory_mib
from config import Settings
from scripts import demo_faces

WIDTH, HEIGHT, FPS, SHOT_S = 640, 360, 25, 4
MEMORY_POINTS = 10  # of the video, evenly spread, at which memory is read

console = Console(highlight=False)


@dataclass(slots=True)
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, began: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def shares(self) -> dict[str, float]:
        """By stage, of the whole."""
        whole = sum(self.seconds.values())
        return {stage: round(seconds / whole, 4) for stage, seconds in self.seconds.items()}


class TimedReader:
    """The service's reader, with the time that decoding takes."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._reader = video_reader(settings)
        self._clock = clock

    def probe(self, path: Path) -> VideoFacts:
        return self._reader.probe(path)

    def frames(self, path: Path) -> Iterator[Frame]:
        frames = self._reader.frames(path)
        while True:
            began = time.perf_counter()
            frame = next(frames, None)
            self._clock.add("decode", began)
            if frame is None:
                return
            yield frame


@dataclass(slots=True)
class MemoryWatch:
    """Reads the process' memory as the video goes on."""

    every: int
    mib: list[float] = field(default_factory=list)

    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        if frames_done >= self.every * (len(self.mib) + 1):
            self.mib.append(round(own_memory_mib(), 1))


def main(argv: Sequence[str] | None = None) -> int:
    """Make the video, analyse it, run the peer on its beginning."""
    arguments = _parsed(argv)
    configure_logging("ERROR", "text")
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder), arguments.pipeline)
        film = _film(Path(folder) / "film.mp4", arguments.minutes * 60, arguments.persons)
        figures = _analysed(settings, film)
        start = _film(Path(folder) / "start.mp4", arguments.peer_seconds, arguments.persons)
        figures["peer"] = _against_peer(settings, start)
    _show(figures)
    reporting.publish("video", {"arguments": vars(arguments), **figures})
    return 0


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.video", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the video")
    parser.add_argument("--pipeline", choices=("fast", "deepface"), default="fast")
    parser.add_argument("--peer-seconds", type=float, default=20.0, help="how much of the video the peer gets")
    parser.add_argument("--persons", type=int, default=12, help=f"at most {demo_faces.MAX_PERSONS}")
    return parser.parse_args(argv)


def _settings(folder: Path, pipeline: str) -> Settings:
    given = {"face_model": "Dlib", "face_detector": "dlib", "face_pipeline": pipeline, "storage_dir": folder}
    return Settings.model_validate(given)


def _analysed(settings: Settings, film: Path) -> dict[str, Any]:
    clock, container = Clock(), Container(settings)
    container.engine.warm()
    analyser = _timed_analyser(container, clock)
    facts = video_reader(settings).probe(film)
    watch = MemoryWatch(every=max(1, facts.frames // MEMORY_POINTS))
    began = time.perf_counter()
    found = analyser.read(film, watch)
    read_s = time.perf_counter() - began
    clock.seconds["tracks_quality_crops"] = read_s - sum(clock.seconds.values())
    began = time.perf_counter()
    analysis = analyser.identify(found)
    clock.add("identities", began)
    return _figures(found, analysis, clock, watch)


def _figures(found: FoundTracks, analysis: VideoAnalysis, clock: Clock, watch: MemoryWatch) -> dict[str, Any]:
    whole_s = sum(clock.seconds.values())
    return {
        "video_s": found.facts.duration_s,
        "frames_looked_at": found.frames,
        "tracks": len(found.tracks),
        "faces": sum(len(each.faces) for each in found.tracks),
        "identities": sum(each.cluster_id != OUTLIERS for each in analysis.identities),
        "seconds": round(whole_s, 1),
        "video_s_per_s": round(found.facts.duration_s / whole_s, 2),
        "shares": clock.shares(),
        "memory_mib": watch.mib,
    }


def _timed_analyser(container: Container, clock: Clock) -> VideoAnalyser:
    def embed(pixels: ImageBgr) -> list[Face]:
        began = time.perf_counter()
        faces = container.engine.embed_faces(pixels)
        clock.add("faces", began)
        return faces

    s = container.settings
    options = AnalysisOptions(s.video_sample_fps, container.threshold.distance, s.face_min_size)
    return VideoAnalyser(embed, TimedReader(s, clock), options)  # type: ignore[arg-type]


def _against_peer(settings: Settings, film: Path) -> dict[str, float]:
    ours, theirs = Container(settings), Container(settings.model_copy(update={"face_pipeline": "deepface"}))
    ours.engine.warm()
    theirs.engine.warm()
    facts = video_reader(settings).probe(film)
    began = time.perf_counter()
    video_analyser(ours).analyse(film, MemoryWatch(every=facts.frames + 1))
    ours_s, began = time.perf_counter() - began, time.perf_counter()
    _naive_loop(theirs, film, facts, settings.video_sample_fps)
    theirs_s = time.perf_counter() - began
    return {
        "ours_video_s_per_s": round(facts.duration_s / ours_s, 2),
        "peer_video_s_per_s": round(facts.duration_s / theirs_s, 2),
        "ratio": round(theirs_s / ours_s, 2),
    }


def _naive_loop(container: Container, film: Path, facts: VideoFacts, sample_fps: float) -> None:
    """Each frame by its number, and all of `DeepFace.represent` for it."""
    capture = cv2.VideoCapture(str(film))
    for number in np.arange(0, facts.frames, facts.fps / sample_fps):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(number))
        read, pixels = capture.read()
        if read:
            container.engine.embed_faces(np.asarray(pixels, dtype=np.uint8))
    capture.release()


def _film(path: Path, seconds: float, persons: int) -> Path:
    photos: dict[str, list[ImageBgr]] = {}
    for name, photo in demo_faces.gallery_photos(persons):
        photos.setdefault(name, []).append(photo)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for number in track(range(round(seconds * FPS)), f"Making {seconds:g} s of video", console=console):
        writer.write(_picture(number / FPS, list(photos.values())))
    writer.release()
    return path


def _picture(at_s: float, photos: Sequence[Sequence[ImageBgr]]) -> ImageBgr:
    """The frame at this time: in turn two persons, one, nobody and one, over the width of the picture."""
    shot, share = int(at_s // SHOT_S), at_s % SHOT_S / SHOT_S
    frame = np.full((HEIGHT, WIDTH, 3), 40 + 60 * (shot % 4), dtype=np.uint8)
    for place in range((2, 1, 0, 1)[shot % 4]):
        photo = photos[(shot + place * 5) % len(photos)][(shot // len(photos)) % 3]
        height, width = photo.shape[:2]
        left = round((WIDTH / 2 - width) * share) + place * WIDTH // 2
        frame[60 : 60 + height, left : left + width] = photo
    return frame


def _show(figures: dict[str, Any]) -> None:
    table = Table("figure", "value", title="A video to its identities")
    for name in ("video_s", "seconds", "video_s_per_s", "frames_looked_at", "faces", "tracks", "identities"):
        table.add_row(name, str(figures[name]))
    for stage, share in figures["shares"].items():
        table.add_row(f"share of {stage}", f"{share:.1%}")
    table.add_row("memory, MiB, over the video", " ".join(f"{mib:.0f}" for mib in figures["memory_mib"]))
    for name, value in figures["peer"].items():
        table.add_row(name, str(value))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
