"""Our two galleries as ways of the search benchmark: the services that answer requests, from the probe's vector on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.adapters.pkl.naming import pkl_names
from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.services.gallery import Gallery
from app.services.search.trials import Trial
from app.services.search.tuning import SearchTuner, TuningOutcome, TuningRequest
from app.services.transfer.pkl_import import import_faces
from bench.process_memory import family_memory_mib
from bench.search_recall import Answer
from bench.vectors import ProbedGallery, image_name, number_of_person
from config import Settings

_MIB = 1 << 20
_BUILD_LIMIT_S = 4 * 3600.0
_IMAGE_INDEX_MAX_ROWS = 100_000  # of more, building one takes many minutes, and the plans found need none
_SIZES = """
SELECT sum(pg_relation_size(c.oid)) FILTER (WHERE c.relname <> 'face_embeddings'), sum(pg_total_relation_size(c.oid))
    FILTER (WHERE c.relkind = 'r')
FROM pg_class AS c
WHERE c.relname LIKE 'face\\_embeddings\\_hnsw\\_%%' OR c.relname LIKE 'person\\_templates%%'
    OR c.relname = 'face_embeddings'
"""


class OurGallery:
    """What both have in common: a container over a folder of its own, and a service that is asked as requests ask it.

    :param threshold: largest cosine distance that counts.
    """

    name = ""
    efforts: Sequence[int] = ()

    def __init__(self, threshold: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="facerec-bench-")
        settings = Settings(
            storage_dir=Path(self._folder.name),
            vector_db_enabled=True,
            face_model="ArcFace",
            face_weights_sha256="0" * 64,
            face_distance_threshold=threshold,
            database_pool_size=16,
        )
        self._container = GalleryContainer(
            settings.model_copy(update={"database_url": None, "gallery_dir": None, "pkl_files": {}})
        )
        self._gallery: Gallery | None = None
        self._facts: dict[str, Any] = {}

    def set_effort(self, effort: int) -> None:
        """It is part of the plan."""

    def search(self, domain: str, probe: NDArray[np.float64]) -> Answer:
        assert self._gallery is not None, "build it first"  # noqa: S101 -- an error of the benchmark itself
        [matches] = self._gallery.search(domain, probe[np.newaxis])
        return Answer(tuple(number_of_person(match.person) for match in matches))

    def facts(self) -> dict[str, Any]:
        return self._facts

    def close(self) -> None:
        self._container.close()
        self._folder.cleanup()


class PgVector(OurGallery):
    """The database's gallery with the plan that the tuner finds for each domain.

    :param tuning_probes: the tuner's; 0 searches as before any tuning, through an index of all images.
    """

    name = "pgvector"

    def __init__(self, threshold: float, tuning_probes: int = 4000) -> None:
        super().__init__(threshold)
        self._tuning_probes = tuning_probes

    def build(self, galleries: Sequence[ProbedGallery]) -> None:
        """Load, index and tune; `build_s` is of the last two."""
        container = self._container
        running_database(container)
        container.migrate()
        load_s = _seconds(lambda: self._load(galleries))
        index_s = _seconds(lambda: self._index(galleries))
        tune_s = _seconds(lambda: self._tune(galleries)) if self._tuning_probes else 0.0
        times = {"load_s": load_s, "index_s": index_s, "tune_s": tune_s, "build_s": index_s + tune_s}
        self._facts |= {name: round(taken, 1) for name, taken in times.items()}
        self._gallery = container.pgvector_recognition

    def index_mib(self) -> float:
        return self._sizes()[0]

    def facts(self) -> dict[str, Any]:
        return self._facts | {"table_mib": round(self._sizes()[1], 1), "server_memory_mib": round(self._server_mib())}

    def _load(self, galleries: Sequence[ProbedGallery]) -> None:
        for gallery in galleries:
            import_faces(self._container.bulk_loader, gallery.domain, gallery.faces(), lambda _: None)

    def _index(self, galleries: Sequence[ProbedGallery]) -> None:
        for gallery in galleries:
            if not self._tuning_probes or len(gallery.embeddings) <= _IMAGE_INDEX_MAX_ROWS:
                self._container.vector_db.ensure_index(gallery.domain, _BUILD_LIMIT_S)

    def _tune(self, galleries: Sequence[ProbedGallery]) -> None:
        container = self._container
        tuner = SearchTuner(container.database, container.engine.spec, container.pgvector_policy.threshold)
        outcomes = [tuner.tune(gallery.domain, TuningRequest(probes=self._tuning_probes)) for gallery in galleries]
        self._facts["plans"] = {outcome.domain: _told(outcome) for outcome in outcomes}

    def _sizes(self) -> tuple[float, float]:
        """Of the indexes and templates, and of the tables with all that belongs to them, in MiB."""
        with self._container.database.transaction(60.0, read_only=True) as cursor:
            cursor.execute(_SIZES, {})
            ((indexes, tables),) = cursor.fetchall()
        return float(indexes or 0) / _MIB, float(tables or 0) / _MIB

    def _server_mib(self) -> float:
        pid_file = self._container.settings.pgdata / "postmaster.pid"
        return family_memory_mib(int(pid_file.read_text(encoding="utf-8").split()[0]))


class Pkl(OurGallery):
    """The PKL gallery: DeepFace's file, compiled into a snapshot and mapped."""

    name = "pkl"

    def build(self, galleries: Sequence[ProbedGallery]) -> None:
        """Write the files in DeepFace's form, float32 to spare the disk, and compile them: that is `build_s`."""
        for gallery in galleries:
            self._write(gallery)
        compiling = _seconds(self._container.pkl_snapshots.check_all)
        self._facts["build_s"] = round(compiling, 1)
        self._gallery = self._container.recognition_service

    def index_mib(self) -> float:
        """Of the snapshots: what workers map and share."""
        return sum(file.stat().st_size for file in self._cache.rglob("*") if file.is_file()) / _MIB

    @property
    def _cache(self) -> Path:
        return self._container.settings.storage_dir / "cache" / "pkl"

    def _write(self, gallery: ProbedGallery) -> None:
        folder = self._container.settings.galleries.absolute() / gallery.domain
        folder.mkdir(parents=True)
        name = next(name for name in pkl_names(self._container.engine.spec) if name.endswith(".npz"))
        np.savez(folder / name, **_columns(gallery, folder))  # type: ignore[arg-type]  # its stub expects no mapping


def _columns(gallery: ProbedGallery, folder: Path) -> dict[str, NDArray[Any]]:
    people = enumerate(gallery.person_of.tolist())
    rows = len(gallery.embeddings)
    return {
        "embedding": gallery.embeddings,
        "has_embedding": np.ones(rows, dtype=bool),
        "identity": np.array([str(folder / image_name(person, row)) for row, person in people], dtype=np.str_),
        "hash": np.zeros(rows, dtype="<U1"),
        **{f"target_{side}": np.full(rows, 10, dtype=np.int64) for side in "xywh"},
    }


def _told(outcome: TuningOutcome) -> dict[str, Any]:
    """A plan, and what it was chosen from; these recalls are of the tuner's own probes."""
    plan = outcome.plan
    return {
        "strategy": plan.strategy.value,
        "ef_search": plan.ef_search,
        "templates": plan.templates,
        "met": outcome.met,
        "tries": [_tried(trial) for trial in outcome.trials],
    }


def _tried(trial: Trial) -> dict[str, Any]:
    return {
        "strategy": trial.plan.strategy.value,
        "effort": trial.plan.ef_search,
        "complete": trial.complete,
        "p50_ms": round(trial.measured.search_p50_ms, 3),
        "top_person_recall": round(trial.measured.top1.share, 5),
        "recall_at_5": round(trial.measured.top5.share, 5),
    }


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if TYPE_CHECKING:
    from bench.peers import Way

    _WAYS: tuple[type[Way], ...] = (PgVector, Pkl)
