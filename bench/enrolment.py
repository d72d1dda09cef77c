"""How soon a person who was just added is recognised: the real service, two workers, dual mode, real faces.

    python -m bench.enrolment [--rounds 20] [--storage FOLDER]

Each round adds a person over HTTP, asks for them at once in both galleries, and deletes them. The goal is that the very
next request knows them, whichever worker answers it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from app.auth import Role
from app.bootstrap import Container
from app.lifecycle import check_start
from app.logs import configure_logging
from config import Settings
from scripts import demo_faces, demo_gallery
from scripts.ports import choose_port

DOMAIN = "demo"
NEWCOMER = 20  # a demo person who is not in the demo gallery
READY_WITHIN_S = 120
_MOST_REQUESTS = 100

Round = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds; 0 when each person was known to the next request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--storage", type=Path, help="kept afterwards; default: a temporary folder")
    arguments = parser.parse_args(argv)
    configure_logging("ERROR", "text")
    with tempfile.TemporaryDirectory(prefix="facerec-bench-") as temporary:
        storage = arguments.storage or Path(temporary) / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        with _service(_settings(storage)) as (address, token):
            rounds = [_round(address, token) for _ in range(arguments.rounds)]
    return _report(rounds)


def _settings(storage: Path) -> Settings:
    return Settings(
        _env_file=None,
        storage_dir=storage,
        face_model="Dlib",
        face_detector="dlib",
        face_weights_download=False,
        vector_db_enabled=True,
        vector_db_candidate_timeout_ms=5000,
        enrol_min_sharpness=5,  # the demo's faces are 25 pixels wide before they are enlarged
        web_workers=2,
        port=choose_port("127.0.0.1", 5051, fixed=False),
    )


@contextmanager
def _service(settings: Settings) -> Iterator[tuple[str, str]]:
    container = Container(settings)
    check_start(container)
    container.migrate()
    demo_gallery.fill(container, DOMAIN)
    token = container.tokens.create("bench", [DOMAIN], [Role.RECOGNISE, Role.ENROL], None)
    environment = os.environ | settings.to_environment() | {"LOG_LEVEL": "WARNING"}
    command = [sys.executable, "-m", "gunicorn", "-c", "systemd/gunicorn.conf.py"]
    service = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
    try:
        address = f"http://{settings.host}:{settings.port}"
        _wait_until_ready(address)
        yield address, token
    finally:
        service.terminate()
        service.wait(settings.graceful_timeout_s + 10)
        container.close()


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{address}/healthz", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise TimeoutError(f"no service at {address} after {READY_WITHIN_S} s")


def _round(address: str, token: str) -> Round:
    headers = {"Authorization": token}
    photo, name = demo_faces.known_probe(NEWCOMER)
    started = time.perf_counter()
    added = _answer(
        requests.post(f"{address}/persons", headers=headers, data={"name": name}, files={"images": photo}, timeout=60)
    )
    posted = time.perf_counter()
    needed = next(n for n in range(1, _MOST_REQUESTS) if _is_known(address, headers, photo, name))
    known = time.perf_counter()
    _answer(requests.delete(f"{address}/persons/{added['person']['id']}", headers=headers, timeout=60))
    deleted = time.perf_counter()
    return {
        "post_ms": (posted - started) * 1000,
        "post_to_recognised_ms": (known - started) * 1000,
        "requests_until_recognised": needed,
        "delete_ms": (deleted - known) * 1000,
    }


def _is_known(address: str, headers: dict[str, str], photo: bytes, name: str) -> bool:
    answer = _answer(requests.post(f"{address}/recognize", headers=headers, files={"image": photo}, timeout=60))
    galleries = (answer["recognized_faces"], answer["pgvector_results"])
    return all(faces and faces[0]["name"] == name for faces in galleries)


def _answer(response: requests.Response) -> dict[str, Any]:
    response.raise_for_status()
    return dict(response.json())


def _report(rounds: Sequence[Round]) -> int:
    table = Table("measure", "p50", "worst")
    figures: dict[str, float] = {"rounds": len(rounds)}
    for measure in rounds[0]:
        values = [each[measure] for each in rounds]
        median, worst = round(statistics.median(values), 1), round(max(values), 1)
        table.add_row(measure, str(median), str(worst))
        figures |= {f"{measure}_p50": median, f"{measure}_worst": worst}
    Console().print(table)
    sys.stdout.write(f"{json.dumps(figures)}\n")
    return 0 if figures["requests_until_recognised_worst"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
