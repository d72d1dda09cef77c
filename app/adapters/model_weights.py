"""The weights files: found, taken from an installed package or downloaded, and held against their checksums.

All of them lie in DeepFace's own folder, `.deepface/weights` below its home. Beside each lies `<file>.sha256`, in the
format of `sha256sum`: what was trusted when the file was first used, and the size and time of the file that was
hashed, so that a start reads 137 MB only after the file has changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from app.adapters.deepface_library import Task
from app.adapters.deepface_weights import download_weights, weights_sources
from app.adapters.face_models import Engine, detector_facts, model_facts, require_packages
from app.atomic_file import locked, write_atomically
from app.errors import StartupError

log = structlog.get_logger(__name__)

# Carried by the package face_recognition_models, whose own import needs a setuptools that no longer exists.
_CARRIER = "face_recognition_models"
_KNOWN_SHA256 = {
    "dlib_face_recognition_resnet_model_v1.dat": "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    "shape_predictor_5_face_landmarks.dat": "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
}

_SIDECAR = re.compile(r"# size (?P<size>\d+) mtime_ns (?P<mtime_ns>\d+)\n(?P<sha256>[0-9a-f]{64}) ")


@dataclass(frozen=True, slots=True)
class WeightsRequest:
    """Which weights a configuration needs, and what may be done to get them.

    :param home: what DeepFace calls DEEPFACE_HOME.
    :param sha256: the digest the recogniser's file must have; None to trust what is found first.
    :param download: whether a missing file may be downloaded.
    """

    home: Path
    model: str
    detector: str
    engine: Engine
    sha256: str | None = None
    download: bool = True


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """Where the weights are, and the recogniser's digest, which is a part of the embedding spec."""

    recognizer: Path
    recognizer_sha256: str
    detector: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One file, and whose it is."""

    file: str
    task: Task
    owner: str


def ensure_weights(request: WeightsRequest) -> WeightsReport:
    """Have every weights file of the recogniser and the detector in place, checked.

    Safe when several processes start at once: files appear whole or not at all.

    :raises StartupError: a package or a file is missing and cannot be had, or a checksum is wrong; the message is the
        one sentence that says what to do.
    """
    model, detector = model_facts(request.model), detector_facts(request.detector)
    require_packages(model, detector, request.engine)
    (recognizer,) = model.needs(request.engine).weights
    recognizer_path = _ensure(_Wanted(recognizer, "facial_recognition", model.name), request)
    digest = _check(recognizer_path, request.sha256 or _KNOWN_SHA256.get(recognizer))
    paths = [
        _ensure(_Wanted(file, "face_detector", detector.name), request)
        for file in detector.needs(request.engine).weights
    ]
    for path in paths:
        _check(path, _KNOWN_SHA256.get(path.name))
    return WeightsReport(recognizer_path, digest, tuple(paths))


def _ensure(wanted: _Wanted, request: WeightsRequest) -> Path:
    """The file's path, after it was made to exist."""
    path = request.home / ".deepface" / "weights" / wanted.file
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):  # workers start together: one of them fetches
            if not path.is_file():
                _fetch(wanted, request, path)
    except OSError as exc:
        raise StartupError(f"The weights folder {path.parent.absolute()} cannot be written: {exc.strerror}.") from exc
    return path


def _fetch(wanted: _Wanted, request: WeightsRequest, path: Path) -> None:
    """Put the file at `path` in one step: what is only half there lies in a folder of its own."""
    with TemporaryDirectory(dir=path.parent, prefix=".incoming-") as incoming:
        if carried := _carried(path.name):
            arrived = _link_or_copy(carried, Path(incoming))
        else:
            arrived = _download(wanted, request, path, Path(incoming))
        arrived.replace(path)
    log.info("weights.fetched", file=wanted.file, package=_CARRIER if carried else None)


def _carried(file_name: str) -> Path | None:
    """The file inside the installed package that carries dlib's weights; nothing is imported to find it."""
    spec = find_spec(_CARRIER)
    folders = spec.submodule_search_locations if spec else None
    candidates = (Path(folder) / "models" / file_name for folder in folders or ())
    return next((path for path in candidates if path.is_file()), None)


def _link_or_copy(source: Path, folder: Path) -> Path:
    target = folder / source.name
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
    return target


def _download(wanted: _Wanted, request: WeightsRequest, path: Path, home: Path) -> Path:
    """Download the file below `home`; the sentence of the error names `path`, where it could be put by hand."""
    sources = weights_sources(wanted.task, wanted.owner, request.engine, wanted.file)
    if not sources:
        raise _missing(path, "a source that DeepFace's documentation names", "has no known address")
    if not request.download:
        raise _missing(path, " or ".join(sources), "must not be downloaded (FACE_WEIGHTS_DOWNLOAD=false)")
    log.info("weights.downloading", file=wanted.file, source=sources[0])
    try:
        return download_weights(wanted.file, sources, home, request.engine)
    except StartupError as exc:
        raise _missing(path, " or ".join(sources), "could not be downloaded") from exc


def _missing(path: Path, source: str, reason: str) -> StartupError:
    return StartupError(
        f"The weights file {path.name} is missing and {reason}: get it from {source} and put it at {path.absolute()}."
    )


def _check(path: Path, expected: str | None) -> str:
    """The file's SHA-256, held against what is expected or, failing that, against what was trusted at first use."""
    sidecar = path.with_name(f"{path.name}.sha256")
    recorded = _read_sidecar(sidecar)
    unchanged = recorded is not None and recorded.stands_for(path)
    digest = recorded.sha256 if recorded and unchanged else _sha256(path)
    trusted = expected or (recorded.sha256 if recorded else digest)
    if digest != trusted:
        remedy = "put the right file there" if expected else f"put that one back, or delete {sidecar.name} to accept it"
        raise StartupError(f"The weights file {path} has SHA-256 {digest} instead of {trusted}: {remedy}.")
    if not unchanged:
        _write_sidecar(sidecar, path, digest)
    return digest


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a sidecar says: the digest, and the state of the file that had it."""

    sha256: str
    size: int
    mtime_ns: int

    def stands_for(self, path: Path) -> bool:
        """Whether the file is, by size and time, the one that was hashed."""
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


def _read_sidecar(sidecar: Path) -> _Recorded | None:
    try:
        text = sidecar.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _SIDECAR.match(text)
    return _Recorded(found["sha256"], int(found["size"]), int(found["mtime_ns"])) if found else None


def _write_sidecar(sidecar: Path, path: Path, digest: str) -> None:
    stat = path.stat()
    text = f"# size {stat.st_size} mtime_ns {stat.st_mtime_ns}\n{digest}  {path.name}\n"
    try:
        write_atomically(sidecar, text.encode())
    except OSError as exc:  # a read-only folder shared by many hosts: the file is hashed at every start then
        log.warning("weights.checksum_not_recorded", file=path.name, error=exc.strerror)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
