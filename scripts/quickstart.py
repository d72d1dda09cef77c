"""`make run`: from nothing to a service that recognises photos in dual mode, on real faces, in one command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from rich.console import Console

from app.atomic_file import write_atomically
from app.auth import Role
from app.bootstrap import Container
from app.errors import AppError, StartupError, Unauthorized
from app.lifecycle import check_start
from app.logs import configure_logging
from config import Settings
from scripts import demo_answers, demo_faces, demo_gallery
from scripts.ports import choose_port

DOMAIN = "demo"
READY_WITHIN_S = 120
# What the demo chooses where the environment and `.env` leave it open: the one engine that needs no download.
CHOICES: dict[str, Any] = {
    "face_model": "Dlib",
    "face_detector": "dlib",
    "face_pipeline": "fast",
    "vector_db_enabled": True,
    "vector_db_dual_mode": True,
}

console = Console(highlight=False)


def main() -> int:
    """Set up, serve until Ctrl-C; 0 after a clean stop, 1 with a sentence where something is in the way."""
    # Set for SIGINT too: a shell that starts this in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings = _settings()
        configure_logging("ERROR", "text")
        with _filled_galleries(settings) as container:
            token = _demo_token(container)
            with _service(settings) as service, _running(settings, "app.worker"):
                _show(settings, token)
                return _serve(service)
    except KeyboardInterrupt:
        return 0
    except AppError as error:
        console.print(f"[red]Cannot start:[/red] {error.message}")
        return 1
    finally:
        console.print("Stopped.")


def _interrupt(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave half of it running
    raise KeyboardInterrupt


def _settings() -> Settings:
    given = Settings.load()
    chosen = {name: value for name, value in CHOICES.items() if name not in given.model_fields_set}
    port = choose_port(given.host, given.port, fixed="port" in given.model_fields_set)
    if port != given.port:
        console.print(f"Port {given.port} is taken; using {port}.")
    return Settings(**chosen, port=port)


@contextmanager
def _filled_galleries(settings: Settings) -> Iterator[Container]:
    container = Container(settings)
    try:
        with console.status("Starting the database and checking the models"):
            check_start(container)
            container.migrate()
        with console.status("Filling the demo galleries with real faces"):
            report = demo_gallery.fill(container, DOMAIN)
        console.print(f"Galleries: {report}")
        yield container
    finally:
        container.close()


def _demo_token(container: Container) -> str:
    path = container.settings.storage_dir / "demo" / "token"
    if path.exists():
        token = path.read_text().strip()
        try:
            container.tokens.authenticate(token)
            return token
        except Unauthorized:
            pass  # revoked or expired: make a new one
    token = container.tokens.create("demo", [DOMAIN], [Role.RECOGNISE, Role.VIEW, Role.ENROL], None)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{token}\n".encode(), mode=0o600)
    return token


@contextmanager
def _service(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    with _running(settings, "gunicorn", "-c", "systemd/gunicorn.conf.py") as service:
        with console.status("Starting the service"):
            _wait_until_ready(service, settings)
        yield service


@contextmanager
def _running(settings: Settings, *module: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of the service as a process, which is stopped gracefully at the end."""
    environment = os.environ | settings.to_environment() | {"LOG_LEVEL": "WARNING"}
    # A session of its own: Ctrl-C in the terminal reaches this script alone, which then stops the process.
    command = [sys.executable, "-m", *module]
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1], start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(settings.graceful_timeout_s + 10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(service: subprocess.Popen[bytes], settings: Settings) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise StartupError("The service ended while it started; the lines above say why.")
        try:
            if requests.get(f"{_address(settings)}/api/v1/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise StartupError(f"The service was not ready within {READY_WITHIN_S} s; see storage/logs.")


def _show(settings: Settings, token: str) -> None:
    folder = settings.storage_dir / "demo"
    for name, (title, photo) in _probes().items():
        (folder / name).write_bytes(photo)
        response = requests.post(
            f"{_address(settings)}/recognize",
            headers={"Authorization": token},
            files={"image": (name, photo)},
            timeout=settings.request_timeout_s,
        )
        console.print(demo_answers.render(title, response.json()))
    address = _address(settings)
    upload = f'curl -H "Authorization: $(cat {folder}/token)" -F image=@{folder}/known.png {address}/recognize'
    console.print(
        f"\nServing at [bold]{address}[/bold], token in [bold]{folder}/token[/bold]. Try:\n\n"
        f"  {upload}\n\n"
        f"The console: [bold]{address}/console[/bold] (sign in with that token)\n\nCtrl-C stops everything.",
        soft_wrap=True,
    )


def _probes() -> dict[str, tuple[str, bytes]]:
    """File name -> what the photo shows, and the photo."""
    return {
        "known.png": ("Somebody the gallery knows", demo_faces.known_probe()[0]),
        "unknown.png": ("Somebody it does not know", demo_faces.unknown_probe()),
        "several.png": ("Several faces in one photo, largest first", demo_faces.several_faces()[0]),
    }


def _serve(service: subprocess.Popen[bytes]) -> int:
    try:
        return service.wait()
    except KeyboardInterrupt:
        console.print("\nStopping.")
        return 0


def _address(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


if __name__ == "__main__":
    sys.exit(main())
