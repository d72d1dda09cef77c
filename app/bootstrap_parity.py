"""The composition root's part for parity: who records comparisons, and who finds out why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import SpecMismatch, UnknownDomain

if TYPE_CHECKING:
    from app.adapters.face_seal import FaceSeal
    from app.adapters.postgres import Database
    from app.bootstrap import Container
    from app.gallery_view import GalleryView
    from app.services.dual_mode import DualMode
    from app.services.parity.causes import CauseFinder
    from app.services.parity.figures import FigureQuery
    from app.services.parity.gates import GateLimits
    from app.services.parity.parity_store import ParityStore
    from app.services.parity.recorder import ParityRecorder
    from app.services.parity.records import Source
    from app.services.recognition_pgvector import PgVectorRecognitionService

CLOSE_S = 6.0  # for what is waiting when a worker ends, well within GRACEFUL_TIMEOUT_S

_CONNECTIONS = 3  # one that writes, one that explains, one for the report and the console


def dual_mode(container: Container) -> DualMode:
    """How both galleries are asked, and what keeps the comparison."""
    from app.services.dual_mode import DualMode
    from app.services.shadow import Shadow

    s = container.settings
    return DualMode(
        shadow=Shadow(s.vector_db_candidate_timeout_ms / 1000, threads=s.web_threads),
        reading=container.gallery_locks.reading,
        answered_by=s.vector_db_primary,
        sample_rate=s.dual_mode_sample_rate,
        record=container.parity_recorder.record,
    )


def face_seal(container: Container) -> FaceSeal | None:
    """What probe faces are sealed with; None where none are kept.

    :raises StartupError: faces are to be kept, and PARITY_KEY is missing or malformed.
    """
    if not container.settings.parity_keep_faces:
        return None
    from app.adapters.face_seal import FaceSeal

    key = container.settings.parity_key
    return FaceSeal(key.get_secret_value() if key else None)


def parity_database(container: Container) -> Database:
    """Connections of its own: a request never waits for one that writes or explains."""
    from app.adapters.postgres import Database

    return Database(container.database_url, _CONNECTIONS, container.settings.database_connect_timeout_s)


def parity_store(container: Container) -> ParityStore:
    """The rows of `comparisons`."""
    from app.services.parity.parity_store import ParityStore

    return ParityStore(container.parity_database, partial(known_in_pkl, container))


def parity_report(
    container: Container, domain: str | None = None, since: datetime | None = None, query: FigureQuery | None = None
) -> dict[str, Any]:
    """Whether pgvector may answer, with the reasons; the gates as they are set.

    :param query: for a replay or one of its runs, in the place of `domain` and `since`.
    :raises StoreUnavailable: the database cannot be asked.
    """
    from app.services.parity.figures import FigureQuery
    from app.services.parity.report import parity_report

    asked = replace(query or FigureQuery(domain, since), spec_key=container.engine.spec.key)
    return parity_report(container.parity_store, domain, since, gate_limits(container), asked)


def gate_limits(container: Container) -> GateLimits:
    """What the gates of the cutover want."""
    from app.services.parity.gates import GateLimits

    s = container.settings
    return GateLimits(
        min_comparisons=s.parity_min_comparisons,
        min_hours=s.parity_min_hours,
        min_match_rate=s.parity_min_match_rate,
        max_unexplained=s.parity_max_unexplained,
        max_candidate_error_rate=s.parity_max_candidate_error_rate,
    )


def parity_recorder(container: Container, source: Source = "live") -> ParityRecorder:
    """What keeps comparisons; the caller closes it.

    :raises StartupError: probe faces are to be kept, and cannot be sealed.
    """
    from app.services.parity.explainer import Explainer
    from app.services.parity.loss_file import LossFile
    from app.services.parity.recorder import ParityRecorder, RecorderOptions

    s, seal = container.settings, face_seal(container)
    options = RecorderOptions(
        spec_key=container.engine.spec.key,
        capacity=s.parity_queue,
        retention_days=s.parity_retention_days,
        source=source,
        seal=seal.seal if seal else None,
        losses=LossFile(s.storage_dir / "parity" / "lost.json") if source == "live" else None,
    )
    explainer = Explainer(_cause_finder(container), container.parity_store, s.parity_explain_queue)
    return ParityRecorder(container.parity_store, explainer, options)


def known_in_pkl(container: Container, domain: str, names: Sequence[str]) -> set[str]:
    """Those of the persons whom the PKL holds; while somebody is being deleted this waits until it is done.

    :raises StoreUnavailable: it cannot be read now, so that nobody can tell.
    """
    try:
        with container.gallery_locks.reading(domain):
            view = _pkl_view(container, domain)
            return {name for name in names if view.faces_of_person(name)}
    except (UnknownDomain, SpecMismatch):  # there is no PKL that could have answered
        return set()


def _pkl_view(container: Container, domain: str) -> GalleryView:
    """Made when it is asked for: there is a recorder in every mode, and not in every mode a PKL."""
    return container.live_pkl.current(domain)


def _cause_finder(container: Container) -> CauseFinder:
    from app.services.parity.causes import CauseFinder, Thresholds
    from app.services.parity.gallery_evidence import GalleryEvidence

    limit_s = container.settings.parity_explain_timeout_ms / 1000
    thresholds = Thresholds(container.pkl_policy.threshold, container.pgvector_policy.threshold)
    spec_key = container.engine.spec.key
    evidence = GalleryEvidence(partial(_pkl_view, container), container.parity_database, spec_key, limit_s)
    return CauseFinder(_exact_gallery(container, limit_s).search, evidence, thresholds)


def _exact_gallery(container: Container, limit_s: float) -> PgVectorRecognitionService:
    """The pgvector gallery with its own threshold, searched by measuring every face."""
    from app.services.recognition_pgvector import PgVectorRecognitionService
    from app.services.vector_db_service import EVERY_FACE, VectorDbService

    vector_db = VectorDbService(container.parity_database, container.engine.spec, EVERY_FACE)
    return PgVectorRecognitionService(vector_db, container.pgvector_policy, limit_s)
