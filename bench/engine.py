"""The pipeline `fast` against `deepface` on the same photos: time, faces found, accuracy, and what is hard to find.

    python -m bench.engine [--images DIR] [--pairs FILE.csv] [--model Dlib] [--detector dlib]
                           [--repeat 5] [--hard-faces 3]

A time is that from the JPEG's bytes to the embeddings, the median of the repetitions, in which the ways take turns.
`deepface` is measured at the service's side limit (1280) and at 640, the most favourable one that was found for it. The
pairs file has the columns file_x, file_y (names below DIR) and Decision (Yes or No); a pair is judged by the largest
faces. Without DIR the photos are faces of the demo, enlarged, and the pairs are theirs. The last line is JSON.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.bootstrap import Container
from app.domain import Face
from app.images import decode_photo
from app.logs import configure_logging
from app.services.matching import exact_distances
from bench import reporting
from bench.engine_scenes import portrait, scenes
from config import Settings
from scripts import demo_faces

WAYS: Mapping[str, dict[str, Any]] = {
    "deepface": {"face_pipeline": "deepface", "face_image_max_side": 1280},
    "deepface_640": {"face_pipeline": "deepface", "face_image_max_side": 640},
    "fast": {"face_pipeline": "fast", "face_image_max_side": 1280},
}
HARD_WAYS = ("deepface", "fast")
DEMO_PERSONS = 4
IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".bmp"}

Figures = dict[str, Any]
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Photos:
    """Encoded photos by name, and pairs of names with whether they show the same person."""

    encoded: dict[str, bytes]
    pairs: tuple[tuple[str, str, bool], ...]


@dataclass(slots=True)
class Way:
    """A pipeline with what was measured of it: faces and times by photo."""

    container: Container
    faces: dict[str, list[Face]] = field(default_factory=dict)
    times_ms: dict[str, list[float]] = field(default_factory=dict)

    def embed(self, photo: bytes) -> list[Face]:
        return self.container.engine.embed_faces(decode_photo(photo, self.container.photo_limits.image))

    def measure(self, name: str, photo: bytes) -> None:
        started = time.perf_counter()
        self.faces[name] = self.embed(photo)
        self.times_ms.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    @property
    def medians_ms(self) -> list[float]:
        return [float(np.median(times)) for times in self.times_ms.values()]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, 0."""
    arguments = _parser().parse_args(argv)
    if arguments.pairs and not arguments.images:
        console.print("--pairs names files below --images: give both.")
        return 2
    configure_logging("ERROR", "text")
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder, ExitStack() as stack:
        ways = {name: Way(Container(_settings(Path(folder), arguments, way))) for name, way in WAYS.items()}
        for way in ways.values():
            stack.callback(way.container.close)
            way.container.engine.warm()
        figures = _compared(ways, _photos(arguments), arguments.repeat)
        figures["found"] = _found(ways, arguments.hard_faces)
    console.print(_speed_table(figures), _hard_table(figures["found"]))
    reporting.publish("engine", figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of photos")
    parser.add_argument("--pairs", type=Path, help="a CSV of labelled pairs of them")
    parser.add_argument("--model", default="Dlib")
    parser.add_argument("--detector", default="dlib")
    parser.add_argument("--repeat", type=int, default=5, help="times that each photo is embedded")
    parser.add_argument("--hard-faces", type=int, default=3, help="faces in each kind of scene; 0: none")
    return parser


def _settings(folder: Path, arguments: argparse.Namespace, way: dict[str, Any]) -> Settings:
    """Of the environment, only where weights are counts."""
    return Settings(
        storage_dir=folder,
        face_model=arguments.model,
        face_detector=arguments.detector,
        vector_db_enabled=False,
        database_url=None,
        log_level="ERROR",
        **way,
    )


def _photos(arguments: argparse.Namespace) -> Photos:
    if arguments.images is None:
        return _demo_photos()
    paths = sorted(path for path in arguments.images.rglob("*") if path.suffix.lower() in IMAGES)
    encoded = {path.relative_to(arguments.images).as_posix(): path.read_bytes() for path in paths}
    if arguments.pairs is None:
        return Photos(encoded, ())
    with arguments.pairs.open(newline="", encoding="utf-8") as file:
        rows = [(row["file_x"], row["file_y"], row["Decision"] == "Yes") for row in csv.DictReader(file)]
    return Photos(encoded, tuple(rows))


def _demo_photos() -> Photos:
    encoded, persons = {}, []
    for number, (person, photo) in enumerate(demo_faces.gallery_photos(DEMO_PERSONS)):
        encoded[str(number)] = portrait(photo, number)
        persons.append(person)
    pairs = tuple((str(a), str(b), persons[a] == persons[b]) for a, b in combinations(range(len(persons)), 2))
    return Photos(encoded, pairs)


def _compared(ways: Mapping[str, Way], photos: Photos, repeat: int) -> Figures:
    for _ in track(range(repeat), "Embedding", console=console, transient=True):
        for name, photo in photos.encoded.items():
            for way in ways.values():
                way.measure(name, photo)
    each: Figures = {name: _figures(way, photos) for name, way in ways.items()}
    fast = np.array(ways["fast"].medians_ms)
    ratios = {name: np.array(way.medians_ms) / fast for name, way in ways.items() if name != "fast"}
    return {
        "photos": len(photos.encoded),
        "pairs": len(photos.pairs),
        "repeat": repeat,
        "speedup": round(float(np.median(ratios["deepface"])), 2),
        "speedup_range": [round(float(x), 2) for x in (ratios["deepface"].min(), ratios["deepface"].max())],
        "speedup_vs_deepface_640": round(float(np.median(ratios["deepface_640"])), 2),
        "similarity_of_pipelines": _similarity(ways["deepface"], ways["fast"]),
        **each,
    }


def _figures(way: Way, photos: Photos) -> Figures:
    spread = reporting.percentiles(way.medians_ms)
    figures: Figures = {
        "ms_p50": spread["p50_ms"],
        "ms_p95": spread["p95_ms"],
        "faces": sum(len(faces) for faces in way.faces.values()),
    }
    return figures | (_accuracy(way, photos.pairs) if photos.pairs else {})


def _accuracy(way: Way, pairs: Sequence[tuple[str, str, bool]]) -> Figures:
    """Verification by the largest faces; a pair in which a photo has none counts as an error, at any threshold."""
    threshold = way.container.threshold.distance
    judged = [(_distance(way, a, b), same) for a, b, same in pairs]
    candidates = sorted({threshold, *_between([distance for distance, _ in judged if np.isfinite(distance)])})
    shares = {limit: _share_right(judged, limit) for limit in candidates}
    best = [limit for limit, share in shares.items() if share == max(shares.values())]
    of_two = [distance for distance, same in judged if not same and np.isfinite(distance)]
    of_one = [distance for distance, same in judged if same and np.isfinite(distance)]
    return {
        "threshold": threshold,
        "accuracy_at_threshold": round(shares[threshold], 4),
        "best_threshold": round(float(np.median(best)), 4),
        "accuracy_at_best": round(max(shares.values()), 4),
        "farthest_same": round(max(of_one), 4),
        "nearest_different": round(min(of_two), 4),
        "gap": round(min(of_two) - max(of_one), 4),
    }


def _distance(way: Way, first: str, second: str) -> float:
    one, other = way.faces[first], way.faces[second]
    if not one or not other:
        return float("nan")  # neither within a threshold nor beyond it
    return float(exact_distances(one[0].embedding[np.newaxis], other[0].embedding)[0])


def _between(distances: Sequence[float]) -> list[float]:
    ordered = np.unique(distances)
    return [float(x) for x in (ordered[1:] + ordered[:-1]) / 2]


def _share_right(judged: Sequence[tuple[float, bool]], limit: float) -> float:
    return float(np.mean([distance <= limit if same else distance > limit for distance, same in judged]))


def _similarity(one: Way, other: Way) -> Figures:
    """Cosine similarity of the largest face's embeddings by the two pipelines, over the photos."""
    similar = [
        1 - float(exact_distances(faces[0].embedding[np.newaxis], other.faces[name][0].embedding)[0])
        for name, faces in one.faces.items()
        if faces and other.faces[name]
    ]
    return {"median": round(float(np.median(similar)), 4), "least": round(min(similar), 4)} if similar else {}


def _found(ways: Mapping[str, Way], count: int) -> Figures:
    """By kind of scene, and by the face's side in pixels: scenes, and how often each way found the face."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for scene in track(list(scenes(count)) if count else [], "Hard faces", console=console, transient=True):
        counts = found.setdefault(scene.kind, {}).setdefault(str(scene.face.side), Counter())
        counts["scenes"] += 1
        for name in HARD_WAYS:
            counts[name] += any(scene.face.is_shown_by(face) for face in ways[name].embed(scene.jpeg))
    return {kind: {side: dict(counts) for side, counts in sizes.items()} for kind, sizes in found.items()}


def _speed_table(figures: Figures) -> Table:
    table = Table(title=f"{figures['photos']} photos, {figures['pairs']} pairs", title_justify="left")
    columns = ("ms_p50", "ms_p95", "faces", "accuracy_at_threshold", "best_threshold", "accuracy_at_best", "gap")
    for heading in ("pipeline", *columns):
        table.add_column(heading, justify="right")
    for name in WAYS:
        table.add_row(name, *(str(figures[name].get(column, "")) for column in columns))
    table.caption = (
        f"fast is {figures['speedup']} times as fast as deepface (per photo {figures['speedup_range']}), and"
        f" {figures['speedup_vs_deepface_640']} times as deepface at 640 px; embeddings' similarity:"
        f" {figures['similarity_of_pipelines']}"
    )
    return table


def _hard_table(found: Figures) -> Table:
    table = Table(title="Faces found in 2,000 px scenes: deepface / fast / scenes", title_justify="left")
    sides = list(next(iter(found.values()), {}))
    for heading in ("the face is", *(f"{side} px" for side in sides)):
        table.add_column(heading, justify="right")
    for kind, sizes in found.items():
        cells = (f"{n.get('deepface', 0)} / {n.get('fast', 0)} / {n['scenes']}" for n in sizes.values())
        table.add_row(kind, *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
