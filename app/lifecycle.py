"""What happens before the first request: the master checks, each worker warms up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from app.domain import Mode
from app.errors import AppError, StoreUnavailable
from app.timing import recording, stage

if TYPE_CHECKING:
    from app.bootstrap import Container

log = structlog.get_logger(__name__)


def check_start(container: Container) -> None:
    """Refuse to start where the service could not answer as configured; start the embedded database.

    A database that cannot be reached is no reason to refuse: it may come back, and in dual mode the PKL answers.

    :raises AppError: with the one sentence that the operator needs.
    """
    with recording() as stages:
        with stage("weights"):
            _name_engine(container)
        if container.settings.mode is not Mode.PGVECTOR:
            with stage("pkl"):
                _check_pkl(container)
        with stage("database"):
            _prepare_database(container)
    log.info("start checked", **_in_ms(stages, "weights", "pkl", "database"))


def warm(container: Container) -> None:
    """Load the models and the galleries, so that the first request is as fast as the second.

    :raises StartupError: a model cannot be loaded.
    """
    with recording() as stages:
        with stage("model"):
            container.engine.warm()
        with stage("gallery"):
            _warm_galleries(container)
    log.info("worker ready", mode=str(container.settings.mode), **_in_ms(stages, "model", "gallery"))


def _name_engine(container: Container) -> None:
    spec, threshold = container.engine.spec, container.threshold
    log.info("start", mode=str(container.settings.mode), model=spec.model, detector=spec.detector)
    log.info("threshold", distance=threshold.distance, source=threshold.source, pipeline=spec.pipeline)


def _check_pkl(container: Container) -> None:
    if container.settings.pgvector_answers:  # a PKL that only shadows is no reason to refuse
        _attempt("DUAL-MODE pkl.not_usable", container.pkl_snapshots.check_all)
    else:
        container.pkl_snapshots.check_all()
    if not container.pkl_snapshots.domains():
        log.warning("pkl.no_gallery", folder=str(container.settings.galleries))


def _prepare_database(container: Container) -> None:
    if container.settings.mode is Mode.DUAL:
        _warn_of_unequal_thresholds(container)
        container.require_face_key()
    if container.uses_embedded_postgres:
        _start_embedded(container)
    if container.settings.vector_db_enabled:
        _check_database(container)
    if container.settings.vector_db_enabled and container.mirror is not None:  # connected after the fork
        log.info("pgvector gallery is searched in Milvus", collection=container.mirror.index.collection)


def _warm_galleries(container: Container) -> None:
    if container.settings.mode is not Mode.PGVECTOR:
        for domain in container.pkl_snapshots.domains():
            _attempt("pkl.not_warmed", partial(container.pkl_snapshots.current, domain))
    if container.settings.vector_db_enabled:
        _attempt("pgvector.not_warmed", container.pgvector_recognition.domains)
    if container.has_database:  # in every mode: what was kept must go when its time is over
        _attempt("parity.no_retention", partial(_see_to_retention, container))
    if container.settings.vector_db_enabled and container.mirror is not None:
        _attempt("pgvector.milvus_not_ready", container.mirror.warm)


def _see_to_retention(container: Container) -> None:
    container.parity_recorder.start()


def _warn_of_unequal_thresholds(container: Container) -> None:
    pkl, pgvector = container.pkl_policy.threshold, container.pgvector_policy.threshold
    if pkl != pgvector:
        log.warning(
            "DUAL-MODE compares galleries of unequal thresholds: unset VECTOR_DB_SIMILARITY_THRESHOLD, or every face "
            "between the two is a discrepancy",
            pkl_distance=pkl,
            pgvector_distance=pgvector,
        )


def _start_embedded(container: Container) -> None:
    try:
        container.embedded_postgres.start()
        container.migrate()
    except AppError as error:
        if container.settings.pgvector_answers:
            raise
        log.error("pgvector database not started", reason=error.message)


def _check_database(container: Container) -> None:
    try:
        container.database.require_supported()
        container.require_migrated()
        container.vector_db.require_spec()
    except StoreUnavailable as error:
        log.warning("pgvector database not reachable at start", reason=error.message)
    finally:
        container.database.close()  # no connection may cross the fork


def _in_ms(stages: dict[str, float], *names: str) -> dict[str, int]:
    """Of the stages, these; the others are parts of them, and counted already."""
    return {f"{name}_ms": round(stages[name]) for name in names if name in stages}


def _attempt(event: str, action: Callable[[], object]) -> None:
    try:
        action()
    except AppError as error:
        log.warning(event, reason=error.message)
