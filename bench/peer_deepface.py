"""DeepFace's own `find`, from its gallery file to its rows: all that it does on each call after embedding the probe.

The installed function runs as it is; only detecting and embedding are replaced by the probe's vector, and the images,
which it would list and hash on every call, are left out (`refresh_database=False`): both in its favour. It loads its
file on every call and keeps nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from bench.process_memory import own_memory_mib
from bench.search_recall import Answer, answer_of
from bench.vectors import ProbedGallery, image_name

_MODEL, _DETECTOR = "ArcFace", "retinaface"
_FILE = "ds_model_arcface_detector_retinaface_aligned_normalization_base_expand_0"
_WIDEST_FACE = {"x": 0, "y": 0, "w": 1, "h": 1}


@dataclass(frozen=True, slots=True)
class Variant:
    """How `find` is asked to keep its file, and to answer.

    :param file_format: `npz`, or `feather` (needs pyarrow).
    :param result: `pandas` searches row by row; `dict` all rows in one product.
    """

    file_format: str
    result: str

    @property
    def name(self) -> str:
        return f"{self.file_format}, {self.result}"


def variants() -> tuple[Variant, ...]:
    """Those that the installed packages allow."""
    always = (Variant("npz", "pandas"), Variant("npz", "dict"))
    return (*always, Variant("feather", "dict")) if find_spec("pyarrow") else always


@dataclass(slots=True)
class _Steps:
    """What the calls took, in milliseconds; the first call of all, which imports, is not among them."""

    load: list[float] = field(default_factory=list)
    search: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


class DeepFaceFind:
    """One variant of `find` over one gallery."""

    efforts: Sequence[int] = ()

    def __init__(self, variant: Variant, threshold: float) -> None:
        self.name = variant.name
        self._variant = variant
        self._threshold = threshold
        self._folder = tempfile.TemporaryDirectory(prefix="facerec-bench-")
        self._person_of: NDArray[np.int64] = np.empty(0, np.int64)
        self._steps = _Steps()

    def build(self, galleries: Sequence[ProbedGallery]) -> None:
        from deepface.modules import recognition

        [gallery] = galleries
        self._person_of = gallery.person_of
        representations = [
            _representation(person, row, gallery.embeddings[row]) for row, person in enumerate(self._person_of.tolist())
        ]
        save = getattr(recognition, "__save_representations")  # written plainly, a class would mangle the name
        save(
            recognition.build_file_store(self._folder.name), str(self._path), self._variant.file_format, representations
        )

    def index_mib(self) -> float:
        return self._path.stat().st_size / (1 << 20)

    def set_effort(self, effort: int) -> None:
        """It is exact."""

    def search(self, domain: str, probe: NDArray[np.float64]) -> Answer:
        began, before = time.perf_counter(), own_memory_mib()
        loaded: list[float] = []

        def extracted(**_: Any) -> list[dict[str, Any]]:
            loaded.append(time.perf_counter())  # `find` asks for the probe's faces once its gallery is loaded
            self._steps.memory.append(own_memory_mib() - before)
            return [{"face": np.zeros((1, 1, 3)), "facial_area": _WIDEST_FACE}]

        found = self._find(probe, extracted)
        ended = time.perf_counter()
        self._steps.load.append((loaded[0] - began) * 1000)
        self._steps.search.append((ended - loaded[0]) * 1000)
        rows = np.array([int(Path(identity).stem) for identity in found], dtype=np.int64)
        return answer_of(rows, self._person_of)

    def facts(self) -> dict[str, Any]:
        """The two halves of a call, and what it loaded."""
        steps = self._steps
        halves = {"load_p50_ms": steps.load, "search_p50_ms": steps.search, "loaded_mib": steps.memory}
        return {name: round(float(np.median(taken[1:] or taken)), 1) for name, taken in halves.items()}

    def close(self) -> None:
        self._folder.cleanup()

    @property
    def _path(self) -> Path:
        return Path(self._folder.name) / f"{_FILE}.{self._variant.file_format}"

    def _find(self, probe: NDArray[np.float64], extracted: Any) -> list[str]:
        """The identities of the rows within the threshold, nearest first."""
        from deepface.modules import recognition

        with (
            mock.patch.object(recognition.logger, "info"),  # it would say on every call that images are left out
            mock.patch.object(recognition.detection, "extract_faces", extracted),
            mock.patch.object(recognition.representation, "represent", lambda **_: [{"embedding": probe.tolist()}]),
            mock.patch.object(
                recognition.modeling, "build_model", lambda **_: SimpleNamespace(output_shape=len(probe))
            ),
        ):
            [found] = recognition.find(
                np.zeros((1, 1, 3), np.uint8),
                self._folder.name,
                model_name=_MODEL,
                detector_backend=_DETECTOR,
                threshold=self._threshold,
                refresh_database=False,
                silent=True,
                datastore_format=self._variant.file_format,
                return_type=self._variant.result,
            )
        return list(found["identity"]) if self._variant.result == "pandas" else [row["identity"] for row in found]


def _representation(person: int, row: int, embedding: NDArray[np.float32]) -> dict[str, Any]:
    box = dict.fromkeys((f"target_{side}" for side in "xywh"), 100)
    return {"identity": f"gallery/{image_name(person, row)}", "hash": "0" * 40, "embedding": embedding.tolist(), **box}
