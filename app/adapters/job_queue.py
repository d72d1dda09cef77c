"""The queue of video jobs, in Postgres by procrastinate; the only importer of it and of its driver, psycopg.

An entry of the queue is a ticket without a job in it: whoever gets one asks whose turn it is. A web worker puts tickets
in over the service's own connections, made after the fork and with time limits of ours. A worker takes them out over
procrastinate's. Of procrastinate's worker two things are done here instead, because they end for good at the first
lost connection: its heartbeat, and being woken by the database (it asks once a second).
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import structlog
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as Entry
from procrastinate.worker import Worker

from app.adapters.postgres import Database
from app.errors import AppError
from app.services.video.queue_work import Handlers

SCHEMA = "procrastinate"
VIDEOS, WEBHOOKS = "videos", "webhooks"

_RUN, _DELIVER = "run_video", "deliver_webhook"
_LIMIT_S = 5.0
_ASK_EVERY_S = 1.0
_NEVER_S = 10.0**9
_AFTER_ERROR_S = 5.0  # what could not even be begun is tried again then, as often as it takes
_TIDY_EVERY_S = 3600.0
_WEBHOOKS_AT_ONCE = 4
_THREADS = 1 + _WEBHOOKS_AT_ONCE + 2  # an entry that was taken never waits for one; and for the sweep and tidying
_CONNECTIONS = 4

log = structlog.get_logger(__name__)


class JobQueue:
    """Puts entries into the queue; the way of a web worker, and of whoever has a `Database`."""

    def __init__(self, database: Database) -> None:
        _quieten()
        self._app = App(connector=_OverDatabase(database))

    def defer(self) -> int:
        """Put a ticket in; its number.

        :raises StoreUnavailable: the database is away; StoreTimeout: it took more than 5 s.
        """
        return self._app.configure_task(_RUN, queue=VIDEOS).defer()

    def defer_webhook(self, job_id: str) -> int:
        """Have a finished job's webhook delivered.

        :raises StoreUnavailable, StoreTimeout: as `defer`.
        """
        return self._app.configure_task(_DELIVER, queue=WEBHOOKS).defer(job_id=job_id)


class _OverDatabase(BaseConnector):
    """Runs procrastinate's statements on the service's own connections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get_sync_connector(self) -> BaseConnector:
        return self

    def execute_query_all(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        with self._database.transaction(_LIMIT_S, settings=f"SET LOCAL search_path = {SCHEMA}") as cursor:
            cursor.execute(query, {name: _written(value) for name, value in arguments.items()})
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def run_worker(url: Callable[[], str], handlers: Handlers, stalled_after_s: float) -> None:
    """Work until SIGTERM or SIGINT, one video at a time; an entry that is being worked on is waited for.

    :param url: where the database is now, asked before each connection.
    :param stalled_after_s: a worker that was not heard of for so long is taken for dead, and its entries are given to
        others.
    """
    _quieten()
    asyncio.run(_Crew(url, handlers, stalled_after_s).work())


def _quieten() -> None:
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # its warnings name hosts and users


class _Again(Exception):
    """The entry is not used up."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s


class _AsTold(BaseRetryStrategy):
    """How often is the handlers' business."""

    def get_retry_decision(self, *, exception: BaseException, job: Entry) -> RetryDecision:
        wait_s = exception.wait_s if isinstance(exception, _Again) else _AFTER_ERROR_S
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=wait_s))


class _Crew:
    """A worker for videos and one for webhooks, whose connections may be lost at any time; and what keeps the queue."""

    def __init__(self, url: Callable[[], str], handlers: Handlers, stalled_after_s: float) -> None:
        self._handlers = handlers
        self._stalled_after_s = stalled_after_s
        self._stopped = asyncio.Event()
        self._workers: dict[str, Worker] = {}
        self._at_work: set[int] = set()
        self._left_over: set[int] = set()
        options = f"-c search_path={SCHEMA} -c statement_timeout={_LIMIT_S:.0f}s"
        limits = {"options": options, "connect_timeout": 3, "tcp_user_timeout": 10_000}
        pool: dict[str, Any] = {"min_size": 1, "max_size": _CONNECTIONS, "timeout": _LIMIT_S, "kwargs": limits}
        self._app = App(connector=PsycopgConnector(conninfo=url, **pool))
        self._manager = self._app.job_manager
        self._app.task(name=_RUN, queue=VIDEOS, pass_context=True, retry=_AsTold())(self._run)
        self._app.task(name=_DELIVER, queue=WEBHOOKS, pass_context=True, retry=_AsTold())(self._deliver)

    async def work(self) -> None:
        """Until a signal comes."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        while not self._stopped.is_set():
            with _survived():
                async with (
                    self._app.open_async(),
                    self._beside(self._sweep, self._stalled_after_s / 2),
                    self._beside(self._tidy, _TIDY_EVERY_S),
                ):
                    await asyncio.gather(self._keep(VIDEOS, 1), self._keep(WEBHOOKS, _WEBHOOKS_AT_ONCE))
            await self._pause(_ASK_EVERY_S)

    def _stop(self) -> None:
        if not self._stopped.is_set():
            self._stopped.set()
            self._handlers.stopping()
            for worker in self._workers.values():
                worker.stop()  # type: ignore[no-untyped-call]

    # --- what workers do

    def _run(self, context: JobContext) -> None:
        with self._working(context.job) as ticket:
            _obey(self._handlers.run(ticket))

    def _deliver(self, context: JobContext, *, job_id: str) -> None:
        with self._working(context.job):
            _obey(self._handlers.deliver(job_id))

    @contextmanager
    def _working(self, entry: Entry) -> Iterator[int]:
        number = _id_of(entry)
        self._at_work.add(number)
        try:
            yield number
        except AppError as error:
            log.warning("queue.not_begun", queue=entry.queue, reason=error.message)
            raise
        finally:
            self._at_work.discard(number)

    # --- what keeps workers alive

    async def _keep(self, queue: str, at_once: int) -> None:
        """Have a worker for a queue, and another one whenever it ends."""
        while not self._stopped.is_set():
            worker = self._workers[queue] = self._worker(queue, at_once)
            with _survived():
                async with self._beside(partial(self._beat, worker), self._stalled_after_s / 4):
                    await worker.run()  # type: ignore[no-untyped-call]
            await self._pause(_ASK_EVERY_S)

    def _worker(self, queue: str, at_once: int) -> Worker:
        return Worker(
            self._app,
            queues=[queue],
            name=queue,
            concurrency=at_once,
            fetch_job_polling_interval=_ASK_EVERY_S,
            abort_job_polling_interval=_NEVER_S,
            listen_notify=False,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=_NEVER_S,
            stalled_worker_timeout=self._stalled_after_s,
        )

    async def _beat(self, worker: Worker) -> None:
        if worker.worker_id is not None:
            await self._manager.update_heartbeat(worker.worker_id)

    async def _sweep(self) -> None:
        """Give the entries of dead workers to others, and put in what the queue lacks."""
        for entry in await self._stalled():
            with suppress(ConnectorException):  # another worker was first
                await self._manager.retry_job(entry)
                log.warning("queue.taken_up_again", entry=entry.id, queue=entry.queue)
        tickets = [_id_of(entry) for entry in await self._manager.list_jobs_async(queue=VIDEOS)]
        webhooks = [str(entry.task_kwargs["job_id"]) for entry in await self._manager.list_jobs_async(queue=WEBHOOKS)]
        owed = await asyncio.to_thread(self._handlers.owed, tickets, webhooks)
        for _ in range(owed.tickets):
            await self._app.configure_task(_RUN, queue=VIDEOS).defer_async()
        for job_id in owed.webhooks:
            await self._app.configure_task(_DELIVER, queue=WEBHOOKS).defer_async(job_id=job_id)

    async def _tidy(self) -> None:
        await asyncio.to_thread(self._handlers.tidy)

    async def _stalled(self) -> list[Entry]:
        """Entries of workers that are not heard of; and those of ours whose end could not be written down."""
        entries = list(await self._manager.get_stalled_jobs(seconds_since_heartbeat=self._stalled_after_s))
        ours = {worker.worker_id for worker in self._workers.values()}
        doing = await self._manager.list_jobs_async(status="doing")
        idle = {_id_of(entry): entry for entry in doing if entry.worker_id in ours and entry.id not in self._at_work}
        # Between its thread's end and the note of it, an entry looks the same: twice in a row it is no coincidence.
        entries += [idle[entry] for entry in self._left_over & set(idle)]
        self._left_over = set(idle)
        return entries

    @asynccontextmanager
    async def _beside(self, action: Callable[[], Awaitable[None]], every_s: float) -> AsyncIterator[None]:
        """Do something regularly, also while the database is away."""

        async def regularly() -> None:
            while True:
                with _survived():
                    await action()
                await asyncio.sleep(every_s)

        task = asyncio.create_task(regularly())
        try:
            yield
        finally:
            task.cancel()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)


@contextmanager
def _survived() -> Iterator[None]:
    """Whatever ends here is begun again: mostly the database was away."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, ConnectorException | psycopg.Error | AppError)
        reason = error.message if isinstance(error, AppError) else type(error).__name__
        log.warning("queue.interrupted", reason=reason, exc_info=not expected)


def _obey(again_s: float | None) -> None:
    if again_s is not None:
        raise _Again(again_s)


def _id_of(entry: Entry) -> int:
    if entry.id is None:
        raise TypeError("an entry of the queue has a number")
    return entry.id


def _written(value: Any) -> Any:
    """As psycopg2 writes it: a composite is a plain tuple, and JSON is text."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list):
        return [_written(item) for item in value]
    return tuple(map(_written, value)) if isinstance(value, tuple) else value
