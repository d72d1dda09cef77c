"""The composition root's other half: parts that only scripts need, so that a web worker never loads them."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING

from app import bootstrap_parity
from app.bootstrap import Container

if TYPE_CHECKING:
    from app.adapters.deepface_engine import DeepFaceEngine
    from app.adapters.pkl.export import PklExport
    from app.gallery_view import GalleryView
    from app.services.acceptance.database_checks import DatabaseChecks
    from app.services.acceptance.search_checks import SearchChecks, SearchLimits
    from app.services.cutover.pkl_return import Galleries
    from app.services.matching import MatchPolicy
    from app.services.parity.recorder import ParityRecorder
    from app.services.parity.replay import Replay
    from app.services.recognition_pgvector import PgVectorRecognitionService
    from app.services.search.tuning import SearchTuner
    from app.services.transfer.bulk_load import BulkLoader
    from app.services.transfer.stored_faces import StoredFaces
    from config import Settings

EVERY_ROW = sys.maxsize  # for a search that measures them all


class GalleryContainer(Container):
    """For scripts that carry galleries about: no model is loaded; FACE_WEIGHTS_SHA256 stands in for missing weights."""

    @cached_property
    def engine(self) -> DeepFaceEngine:
        """What names the spec; without the digest in the settings, the weights must be there to be hashed."""
        digest = self.settings.face_weights_sha256
        return self.engine_with(digest) if digest else super().engine

    @cached_property
    def bulk_loader(self) -> BulkLoader:
        from app.services.transfer.bulk_load import BulkLoader

        return BulkLoader(self.database, self.engine.spec)

    @cached_property
    def search_tuner(self) -> SearchTuner:
        """Makes the search plans of the domains, for the threshold that is set."""
        from app.services.search.tuning import SearchTuner

        return SearchTuner(self.database, self.engine.spec, self.pgvector_policy.threshold)

    def comparable_gallery(
        self, exact_max_rows: int, policy: MatchPolicy | None = None, tuned: bool = False
    ) -> PgVectorRecognitionService:
        """The pgvector gallery that answers with the five nearest persons, near or far unless a policy is given.

        :param exact_max_rows: up to so many faces, a domain is searched by measuring each.
        :param tuned: search by the domains' plans, which hold for the threshold that is set.
        """
        from app.services.recognition_pgvector import PgVectorRecognitionService
        from app.services.transfer.answer_proof import EVERYBODY
        from app.services.vector_db_service import SearchOptions, VectorDbService

        options = SearchOptions(self.settings.vector_db_ef_search, exact_max_rows, tuned=tuned)
        vector_db = VectorDbService(self.database, self.engine.spec, options)
        return PgVectorRecognitionService(vector_db, policy or EVERYBODY, timeout_s=60.0)

    def acceptance(self, limits: SearchLimits) -> tuple[DatabaseChecks, SearchChecks]:
        """The two halves of the acceptance test: what is asked of the database, and of each domain."""
        from app.services.acceptance.database_checks import DatabaseChecks
        from app.services.acceptance.search_checks import SearchChecks, Searched

        spec, s = self.engine.spec, self.settings
        searched = Searched(
            vector_db=self.vector_db,
            exact=self.comparable_gallery(EVERY_ROW),
            served=self.comparable_gallery(s.vector_db_exact_max_rows),
            exact_within=self.comparable_gallery(EVERY_ROW, self.pgvector_policy),
            served_within=self.comparable_gallery(s.vector_db_exact_max_rows, self.pgvector_policy, tuned=True),
            max_distance=self.pgvector_policy.threshold,
        )
        of_database = DatabaseChecks(self.database, spec, self.database.require_supported, self.require_migrated)
        return of_database, SearchChecks(self.database, spec, searched, limits)

    @cached_property
    def stored_faces(self) -> StoredFaces:
        from app.services.transfer.stored_faces import StoredFaces

        return StoredFaces(self.database, self.engine.spec)

    def pkl_gallery(self, domain: str) -> GalleryView:
        """The domain's PKL as the service searches it: the file as it is now, with its journal's changes over it.

        :raises UnknownDomain, SpecMismatch, StoreUnavailable: it cannot be read.
        """
        self.pkl_snapshots.taken_now(domain)
        return self.live_pkl.current(domain)

    @cached_property
    def pkl_export(self) -> PklExport:
        from app.adapters.pkl.export import PklExport

        return PklExport(self.settings.galleries, self.engine.spec, self.settings.pkl_files)

    @cached_property
    def galleries(self) -> Galleries:
        """Both galleries with all their faces, to make the PKL hold everybody."""
        from app.services.cutover.pkl_return import Galleries

        return Galleries(
            pkl=self.pkl_gallery,
            stored=self.stored_faces,
            write=self.pkl_export.write,
            settle=self.gallery_changes.settle,
            writing=self.gallery_locks.writing,
        )


class ReplayContainer(Container):
    """For replays: dual mode whatever is set, with the PKL answering and every photo compared."""

    def __init__(self, settings: Settings) -> None:
        dual = {"vector_db_enabled": True, "vector_db_dual_mode": True, "vector_db_primary": "pkl"}
        super().__init__(settings.model_copy(update=dual | {"dual_mode_sample_rate": 1.0}))

    @cached_property
    def parity_recorder(self) -> ParityRecorder:
        """What keeps comparisons, told apart from those of live requests."""
        return bootstrap_parity.parity_recorder(self, source="replay")

    @property
    def replay(self) -> Replay:
        from app.services.parity.replay import Replay

        return Replay(self.recognition_controller.recognize_face, self.parity_recorder, self.parity_store)
