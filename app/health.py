"""How each part is, as `/api/v1/health` tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app.domain import Mode
from app.errors import AppError

if TYPE_CHECKING:
    from app.bootstrap import Container
    from app.services.mirror.outbox import Backlog
    from app.services.vector_db_service import GalleryCount

BEHIND = "More faces changed than a search can look at beside Milvus: run `python -m scripts.sync_milvus`."
OK, DEGRADED, DOWN = "ok", "degraded", "down"

Part = dict[str, Any]

UNUSED: Part = {"status": "off", "reason": "PROFILE_SEARCH_ENABLED is false."}


def report(container: Container, with_details: bool) -> dict[str, Any]:
    """`status` is `down` where the gallery that answers cannot, `degraded` where another part cannot.

    `primary`, in the mode `dual` only, is the gallery that answers: `pkl` or `pgvector`.

    :param with_details: also counts, domains and reasons, for those who may see them.
    """
    mode = container.settings.mode
    load = asdict(container.turns.load)  # of the worker that answers
    services = {"engine": _part(lambda: {"spec": container.engine.spec.to_document(), "load": load})}
    if mode is not Mode.PGVECTOR:
        services["pkl_gallery"] = _pkl(container)
    if container.settings.vector_db_enabled:
        services["pgvector_gallery"] = _part(lambda: _pgvector(container))
    if mode is Mode.DUAL:
        services["parity"] = _parity(container)
    services["profile_search"] = _part(lambda: _profile_search(container))
    if container.has_database:
        services["videos"] = _part(lambda: container.videos.queue_watch.state().to_health())
    answering = services["pgvector_gallery" if container.settings.pgvector_answers else "pkl_gallery"]
    shown = services if with_details else {name: {"status": part["status"]} for name, part in services.items()}
    primary = {"primary": container.settings.vector_db_primary} if mode is Mode.DUAL else {}
    return {"status": _overall(answering, services), "mode": str(mode)} | primary | {"services": shown}


def _overall(answering: Part, services: dict[str, Part]) -> str:
    if DOWN in (answering["status"], services["engine"]["status"]):
        return DOWN
    return OK if all(part["status"] == OK or part == UNUSED for part in services.values()) else DEGRADED


def _pkl(container: Container) -> Part:
    domains = {name: asdict(status) for name, status in container.pkl_snapshots.status().items()}
    if any(state["error"] for state in domains.values()):
        usable = any(state["rows"] for state in domains.values())
        return {"status": DEGRADED if usable else DOWN, "domains": domains}
    return {"status": OK, "domains": domains}


def _pgvector(container: Container) -> Part:
    counts = container.vector_db.counts()
    if container.mirror is not None:
        return _milvus(counts, container.mirror.backlog())
    plans = container.vector_db.plan_health(counts)
    domains = {name: {**asdict(count), "search": plans[name].to_document()} for name, count in counts.items()}
    return {"backend": "pgvector", "domains": domains}


def _milvus(counts: Mapping[str, GalleryCount], backlog: Backlog) -> Part:
    domains = {name: asdict(count) for name, count in counts.items()}
    behind = {"status": DEGRADED, "reason": BEHIND} if backlog.is_too_long else {}
    return {"backend": "milvus", "domains": domains, "waiting": backlog.changes} | behind


def _profile_search(container: Container) -> Part:
    """Off where it cannot be used now, which is no fault of the service's answers; or never asked for."""
    search = container.profile_search
    return UNUSED if search is None else search.health_check()


def _parity(container: Container) -> Part:
    """Of the worker that answers; a comparison that cannot be kept is no fault of the service's answers."""
    status = container.parity_recorder.status()
    return {"status": DEGRADED if status.problem else OK} | asdict(status)


def _part(ask: Callable[[], Part]) -> Part:
    try:
        return {"status": OK} | ask()
    except AppError as error:
        return {"status": DOWN, "reason": error.message, "code": error.error_code}
