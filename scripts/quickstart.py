"""`make run`: from nothing to a service that recognises photos and videos, on real faces, in one command."""

from __future__ import annotations

import hashlib
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
from scripts import demo_answers, demo_faces, demo_gallery, demo_profiles, demo_video
from scripts.demo_job import DemoJob, Document, NoResults
from scripts.ports import choose_port

DOMAIN = "demo"
READY_WITHIN_S = 120
VIDEO_WITHIN_S = 120
# What the demo chooses where the environment and `.env` leave it open: the one engine that needs no download.
CHOICES: dict[str, Any] = {
    "face_model": "Dlib",
    "face_detector": "dlib",
    "face_pipeline": "fast",
    "vector_db_enabled": True,
    "vector_db_dual_mode": True,
}
DLIB_PROFILE_SIMILARITY = 0.93  # docs/profiles.md: at the default, which is ArcFace's, everybody resembles everybody

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
            with _service(settings, token) as service:
                return _serve(container, token, service)
    except KeyboardInterrupt:
        return 0
    except AppError as error:
        console.print(f"[red]Cannot start:[/red] {error.message}")
        return 1
    finally:
        console.print("Stopped.")


def _serve(container: Container, token: str, service: subprocess.Popen[bytes]) -> int:
    """Show what it does, and wait for its end; the worker starts behind the photos, which it would slow down."""
    settings = container.settings
    _show_photos(settings, token)
    with _running(settings, "app.worker") as worker:
        try:
            _show_video(container, token, worker)
            _show_address(settings)
            return _wait(service, worker)
        except KeyboardInterrupt:
            console.print("\nStopping.")
            return 0


def _wait(service: subprocess.Popen[bytes], worker: subprocess.Popen[bytes]) -> int:
    """The service's exit code at its end; of a worker that ends before, a line."""
    works = worker.poll() is None
    while (code := service.poll()) is None:
        _heed_interrupt()
        if works and worker.poll() is not None:
            works = False
            console.print("[yellow]The worker ended:[/yellow] no video is processed until the next start.")
        time.sleep(0.2)
    return code


def _interrupt(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave half of it running
    raise KeyboardInterrupt


def _heed_interrupt() -> None:
    """Raise again what Python drops where a signal comes while it frees an object."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt


def _settings() -> Settings:
    given = Settings.load()
    port = choose_port(given.host, given.port, fixed="port" in given.model_fields_set)
    if port != given.port:
        console.print(f"Port {given.port} is taken; using {port}.")
    return Settings(**chosen(given), port=port)


def chosen(given: Settings) -> dict[str, Any]:
    """What the demo decides: nothing that the operator has decided."""
    choices = CHOICES if _names_a_profile_store(given) else CHOICES | {"profile_search_enabled": True}
    if "face_model" not in given.model_fields_set or given.face_model == CHOICES["face_model"]:
        choices = choices | {"profile_search_min_similarity": DLIB_PROFILE_SIMILARITY}
    return {name: value for name, value in choices.items() if name not in given.model_fields_set}


def _names_a_profile_store(settings: Settings) -> bool:
    """Whether an index of the operator's is at hand, which the demo neither fills nor searches unasked."""
    s = settings
    return any((s.profile_search_milvus_uri, s.profile_search_mongo_uri, s.profile_search_s3_bucket))


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
def _service(settings: Settings, token: str) -> Iterator[subprocess.Popen[bytes]]:
    with _running(settings, "gunicorn", "-c", "systemd/gunicorn.conf.py") as service:
        with console.status("Starting the service"):
            _wait_until_ready(service, settings, token)
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


def _wait_until_ready(service: subprocess.Popen[bytes], settings: Settings, token: str) -> None:
    """Return when the service answers; to another one that took the port meanwhile, the token means nothing."""
    headers, deadline = {"Authorization": token}, time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise StartupError("The service ended while it started; the lines above say why.")
        try:
            if requests.get(f"{_address(settings)}/api/v1/health", headers=headers, timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise StartupError(f"The service was not ready within {READY_WITHIN_S} s; see storage/logs.")


def _show_photos(settings: Settings, token: str) -> None:
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


def _show_video(container: Container, token: str, worker: subprocess.Popen[bytes]) -> None:
    """What is found in the demo's video; a line where that cannot be had, which is no reason to stop."""
    try:
        with console.status("Processing a video") as shown:

            def waiting(status: Document) -> None:
                _heed_interrupt()
                if worker.poll() is not None:
                    raise NoResults("The worker ended; the lines above say why.")
                shown.update(f"Processing a video: {status['stage']}, {status['percent']:.0f} %")

            _fill_profiles(container)
            results = _video_job(container, token).results(VIDEO_WITHIN_S, waiting)
        console.print(demo_answers.render_video("A video: who is seen, and when", results))
        for remark in demo_answers.unsearched(results):
            console.print(remark)
    except AppError as error:
        console.print(f"[yellow]No results of a video:[/yellow] {error.message}")


def _fill_profiles(container: Container) -> None:
    settings = container.settings
    if not settings.profile_search_enabled or _names_a_profile_store(settings):
        return
    try:
        demo_profiles.fill(container, settings.storage_dir / "demo")
    except AppError as error:
        console.print(f"[yellow]No profiles to search in:[/yellow] {error.message}")


def _video_job(container: Container, token: str) -> DemoJob:
    """The same job at each start, until what it depends on is another."""
    s = container.settings
    video = demo_video.write(s.storage_dir / "demo" / "video.mp4")
    depends = container.engine.spec.key, s.profile_search_enabled, s.profile_search_min_similarity
    key = hashlib.sha256(video.read_bytes() + str(depends).encode()).hexdigest()
    return DemoJob(_address(s), token, video, f"demo-{key}")


def _show_address(settings: Settings) -> None:
    address, folder = _address(settings), settings.storage_dir / "demo"
    curl = f'curl -H "Authorization: $(cat {folder}/token)" -F'
    console.print(
        f"\nServing at [bold]{address}[/bold], token in [bold]{folder}/token[/bold]. Try:\n\n"
        f"  {curl} image=@{folder}/known.png {address}/recognize\n"
        f"  {curl} file=@{folder}/video.mp4 {address}/v3/process\n\n"
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


def _address(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


if __name__ == "__main__":
    sys.exit(main())
