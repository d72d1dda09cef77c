"""Two galleries, dual mode over them, and the recorder that keeps and explains what they answer differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from app.adapters.pkl.live import LivePklGalleries
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_pkl
from app.adapters.postgres import Database
from app.domain import EmbeddingSpec, Face, FaceBox, GalleryFace
from app.services.dual_mode import DualMode
from app.services.parity.causes import CauseFinder, Thresholds
from app.services.parity.explainer import Explainer
from app.services.parity.gallery_evidence import GalleryEvidence
from app.services.parity.parity_store import ParityStore
from app.services.parity.recorder import ParityRecorder, RecorderOptions
from app.services.parity.records import ComparisonQuery, StoredComparison, Verdict
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.recognition_service import RecognitionService
from app.services.shadow import Shadow
from app.services.vector_db_service import EVERY_FACE, SearchOptions, VectorDbService
from tests.integration.galleries import policy_of, spec_of

DOMAIN = "serbia"
WAIT_S = 60.0
SPEC = spec_of(16)

Probe = NDArray[np.float64]


@dataclass(frozen=True)
class WorldOptions:
    """How the two galleries answer, and how comparisons are kept."""

    spec: EmbeddingSpec = SPEC
    domain: str = DOMAIN
    pkl_threshold: float = 0.3
    pgvector_threshold: float = 0.3
    search: SearchOptions = field(default_factory=SearchOptions)
    limit_s: float = 30.0
    sample_rate: float = 1.0
    answered_by: Any = "pkl"
    recorder: dict[str, Any] = field(default_factory=dict)


class ParityWorld:
    """What dual mode and its recorder are made of, over a storage folder and a database."""

    def __init__(self, storage: Path, database: Database, options: WorldOptions) -> None:
        self.database, self.options = database, options
        self.spec, self.domain = options.spec, options.domain
        self.galleries = storage / "galleries"
        self.folder = self.galleries / self.domain
        self.folder.mkdir(parents=True, exist_ok=True)
        self.snapshots = PklSnapshots(self.galleries, storage / "cache", self.spec, {})
        self.live = LivePklGalleries(self.snapshots, self.galleries, lambda _domain: None)
        self.vector_db = VectorDbService(database, self.spec, options.search)
        pkl_policy, pgvector_policy = policy_of(options.pkl_threshold), policy_of(options.pgvector_threshold)
        self.pkl = RecognitionService(self.live.current, self.live.domains, pkl_policy)
        self.store = ParityStore(database, self.known_in_pkl)
        self.recorder = self._recorder()
        self.shadow = Shadow(options.limit_s, threads=4)
        dual = DualMode(
            self.shadow,
            answered_by=options.answered_by,
            sample_rate=options.sample_rate,
            record=self.recorder.record,
        )
        self.pgvector = PgVectorRecognitionService(self.vector_db, pgvector_policy, 10, dual)

    def close(self) -> None:
        self.recorder.close(4.0)
        self.pgvector.close()
        self.live.close()

    def fill(self, faces: Sequence[GalleryFace]) -> None:
        """The same faces in both galleries."""
        self.fill_pkl(faces)
        self.fill_database(faces)

    def fill_pkl(self, faces: Sequence[GalleryFace]) -> None:
        write_pkl(self.folder / pkl_names(self.spec)[0], faces, self.folder)
        self.snapshots.taken_now(self.domain)

    def fill_database(self, faces: Sequence[GalleryFace]) -> None:
        self.vector_db.add_faces(self.domain, faces)
        self.vector_db.ensure_index(self.domain)

    def ask(self, *probes: Probe, request_id: str = "r1") -> dict[str, Any]:
        """A request with these faces, largest first."""
        faces = [Face(FaceBox(0, 0, 90 - i, 90 - i), probe, 1.0) for i, probe in enumerate(probes)]
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            return self.pgvector.recognize_face_dual_mode(
                faces, self.domain, control=lambda: self.pkl.recognize_faces(faces, self.domain)
            )

    def rows(self, **query: Any) -> list[StoredComparison]:
        """What was recorded and explained, oldest first."""
        assert self.recorder.flush(WAIT_S)
        return self.store.comparisons(ComparisonQuery(verdicts=list(Verdict), limit=10_000, **query))[::-1]

    def row(self) -> StoredComparison:
        """The one row there is."""
        (found,) = self.rows()
        return found

    def known_in_pkl(self, domain: str, names: Sequence[str]) -> set[str]:
        return {name for name in names if self.live.current(domain).faces_of_person(name)}

    def _recorder(self) -> ParityRecorder:
        o = self.options
        exact_db = VectorDbService(self.database, self.spec, EVERY_FACE)
        exact = PgVectorRecognitionService(exact_db, policy_of(o.pgvector_threshold), 10)
        evidence = GalleryEvidence(self.live.current, self.database, self.spec.key, 10)
        finder = CauseFinder(exact.search, evidence, Thresholds(o.pkl_threshold, o.pgvector_threshold))
        explainer = Explainer(finder, self.store, capacity=10_000)
        return ParityRecorder(self.store, explainer, RecorderOptions(self.spec.key, **o.recorder))
