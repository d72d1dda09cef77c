"""gunicorn's settings, from the same `Settings` as everything else, and the hooks that start and stop the parts.

The master checks the configuration and owns the embedded Postgres; each worker loads its own model after the fork
(a model or a connection that crosses a fork hangs or answers with another's data).

Threads, by one rule: what computes is as much as there are cores, and never more.

    workers x threads that compute in each = cores
    cores      those this process may use: its affinity, or its cgroup's quota (CPUQuota=, a container's limit)
    workers    WEB_WORKERS; best as many as cores, and fewer where memory is short: each holds a model
    threads that compute    cores / WEB_WORKERS, at least 1, for each of: the model (onnxruntime, TensorFlow; dlib has
               one in any case), BLAS and OpenMP (NumPy's products), OpenCV; set in the worker before the model loads

A worker computes one photo at a time, from its decoding to its answer, whatever the number of its threads; so none of
the above ever runs twice in a worker. gunicorn's threads do not compute, they wait:

    threads    1 + RECOGNIZE_MAX_WAITING + WEB_THREADS: one for the photo in work, one for each that waits its turn,
               the rest for what is answered at once meanwhile: health, the 503 of who finds the queue full, persons;
               half of that rest, at most, is held by videos that arrive and by streams of their progress

So a worker never has more requests than it can take back an answer to: gunicorn accepts connections far beyond its
threads (`worker_connections`), but there is always a thread free to refuse, and neither its queue nor the kernel's
(`backlog`) grows. Uploads of slow clients would occupy those threads: let the reverse proxy buffer them (nginx does).

Which worker gets a request: the one with the fewest photos. Workers share one socket and whoever is first takes the
connection, so a worker hesitates for a millisecond per photo it has (`_EvenWorker`). A connection stays with its worker
until it is closed, so `keepalive` is off: kept open, six of eight clients may stand in one worker's queue for as long
as they come, and the other worker is idle. A new connection costs next to nothing beside a photo. gunicorn's accepting
thread waits for the client's end of a closed connection (two seconds at most): one more reason for a reverse proxy,
which closes at once. (`reuse_port` would deal connections out blindly.)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import structlog
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.gthread import ThreadWorker

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # gunicorn reads this file before it looks there itself

from app.bootstrap import Container
from app.errors import AppError
from app.heap import return_freed_memory
from app.lifecycle import check_start, warm
from app.logs import configure_logging
from app.thread_limits import limit_threads, threads_per_worker, usable_cores
from config import Settings

try:
    settings = Settings.load()
except AppError as error:
    sys.exit(error.message)
configure_logging(settings.log_level, settings.log_format, settings.storage_dir / "logs")
log = structlog.get_logger("gunicorn.conf")

MOST_HESITATION = 5  # milliseconds: in an overload every worker is full, and refusals must not wait

wsgi_app = "app:create_app()"
bind = f"{settings.host}:{settings.port}"
workers = settings.web_workers
threads = 1 + settings.recognize_max_waiting + settings.web_threads
timeout = settings.request_timeout_s
graceful_timeout = settings.graceful_timeout_s
keepalive = 0
loglevel = settings.log_level.lower()
preload_app = False
proc_name = "facerecweb"
control_socket_disable = True


class _EvenWorker(ThreadWorker):  # type: ignore[misc]
    """Leaves a new connection to a worker with fewer photos."""

    def accept(self, listener: Any) -> None:
        photos = self.wsgi.extensions["container"].turns.load.photos
        time.sleep(min(photos, MOST_HESITATION) / 1000)
        super().accept(listener)  # finds nothing, and says nothing, where another worker was first

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Do not wait for streams that would go on for as long as somebody listens."""
        self.wsgi.extensions["status_streams"].end()
        super().handle_exit(sig, frame)


class _Logger(GunicornLogger):  # type: ignore[misc]
    """Lets gunicorn's own lines pass through the service's handlers."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


logger_class = _Logger
worker_class = _EvenWorker
_master = Container(settings)


def on_starting(server: Any) -> None:
    """Before any worker: stop with one sentence where the service could not answer as configured."""
    return_freed_memory()  # the workers inherit it
    cores = usable_cores()
    tell = log.warning if workers > cores else log.info
    tell("threads", cores=cores, workers=workers, computing_in_each=threads_per_worker(workers, cores), threads=threads)
    server.masters = [_master]
    try:
        check_start(_master)
    except AppError as error:
        log.critical("start refused", reason=error.message, code=error.error_code)
        _master.close()
        sys.exit(4)


def on_reload(server: Any) -> None:
    """After SIGHUP, by when this file was read anew: prepare what the settings of now ask for.

    What the master held before stays until it ends: the embedded Postgres must not go while old workers still answer.
    """
    server.masters.append(_master)
    try:
        check_start(_master)
    except AppError as error:
        log.critical("reload with unusable settings", reason=error.message, code=error.error_code)


def post_worker_init(worker: Any) -> None:
    """In the worker: load the model and the galleries, so that the first request is as fast as the second."""
    container = worker.wsgi.extensions["container"]
    try:
        limit_threads(threads_per_worker(workers))
        warm(container)
    except AppError as error:
        log.critical("worker cannot start", reason=error.message, code=error.error_code)
        sys.exit(4)  # gunicorn's "app failed to load": the master stops and does not start it again and again


def worker_exit(server: Any, worker: Any) -> None:
    """In the worker: let go of connections and threads."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["container"].close()


def on_exit(server: Any) -> None:
    """In the master, last: stop the embedded Postgres if this master started it, before a reload or after."""
    for master in server.masters:
        master.close()
