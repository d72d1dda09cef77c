"""gunicorn's settings, from the same `Settings` as everything else, and the hooks that start and stop the parts.

The master checks the configuration and owns the embedded Postgres; each worker loads its own model after the fork
(a model or a connection that crosses a fork hangs or answers with another's data).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import structlog
from gunicorn.glogging import Logger as GunicornLogger

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # gunicorn reads this file before it looks there itself

from app.bootstrap import Container
from app.errors import AppError
from app.lifecycle import check_start, warm
from app.logs import configure_logging
from config import Settings

try:
    settings = Settings.load()
except AppError as error:
    sys.exit(error.message)
configure_logging(settings.log_level, settings.log_format, settings.storage_dir / "logs")
log = structlog.get_logger("gunicorn.conf")

wsgi_app = "app:create_app()"
bind = f"{settings.host}:{settings.port}"
worker_class = "gthread"
workers = settings.web_workers
threads = settings.web_threads
timeout = settings.request_timeout_s
graceful_timeout = settings.graceful_timeout_s
keepalive = 5
loglevel = settings.log_level.lower()
preload_app = False
proc_name = "facerecweb"
control_socket_disable = True


class _Logger(GunicornLogger):  # type: ignore[misc]
    """Lets gunicorn's own lines pass through the service's handlers."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


logger_class = _Logger
_master = Container(settings)


def on_starting(server: Any) -> None:
    """Before any worker: stop with one sentence where the service could not answer as configured."""
    try:
        check_start(_master)
    except AppError as error:
        log.critical("start refused", reason=error.message, code=error.error_code)
        _master.close()
        sys.exit(4)


def post_worker_init(worker: Any) -> None:
    """In the worker: load the model and the galleries, so that the first request is as fast as the second."""
    try:
        warm(worker.wsgi.extensions["container"])
    except AppError as error:
        log.critical("worker cannot start", reason=error.message, code=error.error_code)
        sys.exit(4)  # gunicorn's "app failed to load": the master stops and does not start it again and again


def worker_exit(server: Any, worker: Any) -> None:
    """In the worker: let go of connections and threads."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["container"].close()


def on_exit(server: Any) -> None:
    """In the master, last: stop the embedded Postgres if this master started it."""
    _master.close()
