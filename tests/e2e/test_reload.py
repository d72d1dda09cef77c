"""A reload (SIGHUP) as `systemctl reload` sends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.errors import StoreUnavailable
from tests.e2e.conftest import DUAL, Service

WITHIN_S = 60


def is_running(storage: Path) -> bool:
    try:
        return bool(EmbeddedPostgres(storage / "pgdata").url)
    except StoreUnavailable:
        return False


def workers_ready(service: Service) -> int:
    return service.log().count("worker ready")


def test_after_a_reload_the_service_answers_and_its_stop_ends_the_database_too(
    start_service: Callable[..., Any], storage_copy: Path
) -> None:
    with start_service(DUAL | {"WEB_WORKERS": "1"}, storage_copy) as service:
        ready = workers_ready(service)
        service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + WITHIN_S
        while workers_ready(service) == ready and time.monotonic() < deadline:
            time.sleep(0.2)
        assert workers_ready(service) > ready, service.log()
        assert requests.get(f"{service.address}/healthz", timeout=10).ok
        assert is_running(storage_copy)
    assert not is_running(storage_copy)
