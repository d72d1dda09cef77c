"""A stranger's file is opened in a process of its own: what breaks FFmpeg breaks neither the service nor its memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import structlog

from app.errors import AppError, StoreUnavailable, TooLarge, UnsupportedVideo
from app.services.video.records import VideoFacts, VideoLimits

_LIMIT_S = 30.0
_MEMORY = 4 * 1024**3  # address space; a frame of the largest size is decoded within a twentieth of it
_ROOT = Path(__file__).parents[2]
_ARGUMENTS = ("-m", "app.adapters.video_probe")

log = structlog.get_logger(__name__)


def probe_apart(path: Path, limits: VideoLimits) -> VideoFacts:
    """What `video_file.probe` says of the video.

    :raises UnsupportedVideo: as `probe`; also where the file breaks what reads it, or takes it more than 30 s.
    :raises TooLarge: as `probe`.
    """
    command = [sys.executable, *_ARGUMENTS, str(path.absolute()), json.dumps(asdict(limits))]
    try:
        ended = subprocess.run(  # without the service's environment, which has its secrets
            command, cwd=_ROOT, env={}, capture_output=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _broken("took too long to open") from None
    except OSError as exc:
        raise StoreUnavailable("The video cannot be looked at now: no process can be started.") from exc
    if ended.returncode != 0:
        log.warning("video.probe_broke", code=ended.returncode)
        raise _broken("broke the program that opens videos")
    return _answered(json.loads(ended.stdout))


def _answered(answer: dict[str, dict[str, object]]) -> VideoFacts:
    if "refused" not in answer:
        return VideoFacts(**answer["facts"])  # type: ignore[arg-type]
    refused = answer["refused"]
    kind = TooLarge if refused["status"] == TooLarge.status else UnsupportedVideo
    raise kind(str(refused["message"]), code=str(refused["code"]))


def _broken(how: str) -> UnsupportedVideo:
    return UnsupportedVideo(f"The file is not a video this service reads: it {how}.")


def main(path: str, limits: str) -> None:
    """In the other process: print what was found, or why the video is refused."""
    from app.adapters.video_file import probe

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard), hard))
    try:
        answer = {"facts": asdict(probe(Path(path), VideoLimits(**json.loads(limits))))}
    except AppError as error:
        refused = {"status": error.status, "code": error.error_code, "message": error.message}
        answer = {"refused": refused}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
