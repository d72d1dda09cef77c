"""The video worker: `python -m app.worker` takes videos from the queue, one at a time, until SIGTERM."""

from __future__ import annotations

import os
import sys

import structlog

from app.bootstrap import Container
from app.errors import AppError, DatabaseUnconfigured, StoreUnavailable
from app.logs import configure_logging
from app.thread_limits import limit_threads, threads_per_worker
from config import Settings

REFUSED = 4  # the exit code of gunicorn's master where a start is refused

log = structlog.get_logger(__name__)


def main() -> int:
    """Work until told to stop; 0 after a clean stop, `REFUSED` with a sentence where it cannot start."""
    try:
        settings = Settings.load()
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return REFUSED
    configure_logging(settings.log_level, settings.log_format, settings.storage_dir / "logs")
    container = Container(settings)
    try:
        check(container)
        serve(container)
    except AppError as error:
        log.critical("worker start refused", reason=error.message, code=error.error_code)
        return REFUSED
    finally:
        container.close()
    return 0


def check(container: Container) -> None:
    """Refuse to start where no video could be worked on as configured; start the embedded database.

    A database that cannot be reached is no reason to refuse: the worker waits for it.

    :raises AppError: with the one sentence that the operator needs.
    """
    if not container.has_database:
        raise DatabaseUnconfigured
    spec = container.engine.spec
    log.info("worker start", model=spec.model, detector=spec.detector, pid=os.getpid())
    if container.uses_embedded_postgres:
        container.embedded_postgres.start()
        container.migrate()
        return
    try:
        container.database.require_supported()
        container.require_migrated()
    except StoreUnavailable as error:
        log.warning("database not reachable at start", reason=error.message)


def serve(container: Container) -> None:
    """Load the model and work; told to stop, finish the video in work or give it back within GRACEFUL_TIMEOUT_S.

    :raises StartupError: the model cannot be loaded.
    """
    from app.adapters.job_queue import run_worker
    from app.bootstrap_worker import handlers, video_pipeline
    from app.services.video.job_watch import Shutdown

    settings = container.settings
    limit_threads(threads_per_worker(settings.web_workers))  # it computes beside them, and as one of them
    if settings.video_ray_address is None:
        container.engine.warm()
    shutdown = Shutdown(settings.graceful_timeout_s / 2)
    log.info("worker ready")
    work = handlers(container, video_pipeline(container), shutdown)
    run_worker(container.database_url, work, settings.video_stalled_after_s)
    log.info("worker stopped")


if __name__ == "__main__":
    sys.exit(main())
