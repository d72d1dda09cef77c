"""Log lines: JSON for machines, readable in a terminal, each with the request's id."""

from __future__ import annotations

import logging
import sys
from logging.handlers import WatchedFileHandler
from pathlib import Path

import structlog
from structlog.typing import EventDict, WrappedLogger

LOG_FILE = "facerec.log"


def configure_logging(level: str, log_format: str, folder: Path | None = None) -> None:
    """Send structlog's and the standard library's lines to stderr and, with a folder, to a file in it as JSON.

    :param log_format: `json`, `text`, or `auto` for text in a terminal and JSON elsewhere.
    :param folder: the file is reopened when logrotate moves it; a folder that cannot be written is said, not fatal.
    """
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    stderr = logging.StreamHandler()
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    stderr.setFormatter(_formatter(console if text else structlog.processors.JSONRenderer()))
    root = logging.getLogger()
    for handler in root.handlers:
        handler.close()
    root.handlers = [stderr]
    root.setLevel(level)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if folder is not None:
        _add_file(root, folder)


def _add_file(root: logging.Logger, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = WatchedFileHandler(folder / LOG_FILE)
    except OSError as exc:
        structlog.get_logger(__name__).warning("logs.file_unavailable", folder=str(folder), reason=exc.strerror)
        return
    handler.setFormatter(_formatter(structlog.processors.JSONRenderer()))
    root.addHandler(handler)


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(renderer: structlog.typing.Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([] if isinstance(renderer, structlog.dev.ConsoleRenderer) else [_format_exception]),
            renderer,
        ],
    )


def _format_exception(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, name, event)
