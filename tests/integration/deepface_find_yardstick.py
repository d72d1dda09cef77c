"""Asks the installed DeepFace, in a process of its own: `python deepface_find_yardstick.py GALLERY PROBES ANSWERS`.

DeepFace reads its settings from the environment and keeps its models in the process, so it must not share one with
other tests. ANSWERS becomes a JSON file: for each probe photo and each of its faces the embedding that
`DeepFace.represent` gives and the rows that `DeepFace.find` gives at each threshold.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deepface import DeepFace
from deepface.modules import verification
from deepface.modules.exceptions import FaceNotDetected

PIPELINE = {"model_name": "Dlib", "detector_backend": "dlib"}
COLUMNS = ["identity", "distance", "threshold", "confidence"]
WIDE_THRESHOLD = 0.2  # takes in half the gallery, where the default takes in one person


def main(gallery: Path, probes: Path, answers: Path) -> None:
    default = verification.find_threshold("Dlib", "cosine")
    faces = [face for probe in sorted(probes.iterdir()) for face in _ask(probe, gallery, [default, WIDE_THRESHOLD])]
    answers.write_text(json.dumps({"default_threshold": default, "faces": faces}))


def _ask(probe: Path, gallery: Path, thresholds: list[float]) -> list[dict[str, Any]]:
    try:
        embeddings = [face["embedding"] for face in DeepFace.represent(str(probe), **PIPELINE)]
    except FaceNotDetected:
        return []
    found = {threshold: _find(probe, gallery, threshold) for threshold in thresholds}
    return [
        {
            "probe": probe.name,
            "embedding": embedding,
            "rows": [{"threshold": threshold, "rows": found[threshold][place]} for threshold in thresholds],
        }
        for place, embedding in enumerate(embeddings)
    ]


def _find(probe: Path, gallery: Path, threshold: float) -> list[list[dict[str, Any]]]:
    """The rows of each face, as a caller of `DeepFace.find` gets them."""
    frames = DeepFace.find(str(probe), str(gallery), threshold=threshold, silent=True, **PIPELINE)
    return [frame[COLUMNS].to_dict("records") for frame in frames]


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
