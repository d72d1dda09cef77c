"""Whether videos are worked on: how many wait, for how long, and whether a worker is there for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from app.services.video import job_sql as sql

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_LIMIT_S = 1.0
_PATIENCE_S = 300.0  # a worker may be restarted meanwhile
_NO_WORKER = "Videos wait, and no worker was heard of: start facerec-worker (`python -m app.worker`)."


@dataclass(frozen=True, slots=True)
class QueueState:
    """What has become of the jobs that are not finished.

    :param oldest_waiting_s: how long the one that waits longest has done so; None where none waits.
    :param unmoved_s: since when one of them, waiting or running, has not moved; None where there is none.
    :param workers: processes that were heard of lately.
    """

    queued: int
    running: int
    oldest_waiting_s: float | None
    unmoved_s: float | None
    workers: int

    @property
    def lacks_workers(self) -> bool:
        """Whether something waits for longer than a worker takes to start, and none was heard of."""
        return not self.workers and self.unmoved_s is not None and self.unmoved_s > _PATIENCE_S

    def to_health(self) -> dict[str, Any]:
        """The part `videos` of the health."""
        shown = {name: value for name, value in asdict(self).items() if name != "unmoved_s"}
        return shown | ({"status": "degraded", "reason": _NO_WORKER} if self.lacks_workers else {})


class QueueWatch:
    """Asks how the queue is; a millisecond or two.

    :param workers: how many were heard of lately.
    """

    def __init__(self, database: Database, workers: Callable[[], int]) -> None:
        self._database = database
        self._workers = workers

    def state(self) -> QueueState:
        """How it is now.

        :raises StoreUnavailable: the database cannot be asked; StoreTimeout: within a second.
        """
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.UNFINISHED_STATE)
            ((queued, running, oldest_waiting_s, unmoved_s),) = cursor.fetchall()
        return QueueState(queued, running, oldest_waiting_s, unmoved_s, self._workers())
