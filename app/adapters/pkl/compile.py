"""Compiles a gallery file into a snapshot, in a process of its own.

Unpickling a large gallery takes a gigabyte, and a hostile one may ask for any amount of memory and time: neither may
happen in a process that answers requests. `python -m app.adapters.pkl.compile` is that process; it takes the job on
its standard input and leaves either a snapshot or the reason why there can be none.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.pkl.reader import read_pkl
from app.adapters.pkl.snapshot_folder import (
    Snapshot,
    Source,
    load_snapshot,
    raise_recorded_refusal,
    record_refusal,
    remove_other_snapshots,
    save_snapshot,
)
from app.errors import AppError, SpecMismatch, StoreUnavailable, UnsafePickle
from app.gallery_matrix import GalleryMatrix
from app.person_names import gallery_root, person_name, relative_image

NOT_COMPILED = "pkl_not_compiled"  # code of a failure that says nothing about the file: trying again may help
TIME_LIMIT_S = 600
_MEMORY_PER_BYTE = 12  # a gallery takes five times its file's size while it is read; a bomb takes eighty and more
_MEMORY_BASE = 1 << 30
_POLITENESS = 10  # requests are answered beside it
_FAULTS_OF_THE_FILE = frozenset({"pkl_corrupt", SpecMismatch.code, UnsafePickle.code})
_PROJECT_ROOT = Path(__file__).resolve().parents[3]


def ensure_snapshot(source: Source) -> Snapshot:
    """The snapshot of the file in this state, compiled now if no process did so yet; one process compiles at a time.

    :raises SpecMismatch, UnsafePickle, StoreUnavailable: the file cannot be used (see `read_pkl`).
    :raises StoreUnavailable: code `pkl_not_compiled`, the compiling process died, took too long or could not start.
    """
    try:
        with _alone_in(source.folder) as lock:
            raise_recorded_refusal(source)
            snapshot = load_snapshot(source.folder / source.key) or _compile_elsewhere(source, lock)
            remove_other_snapshots(source)
            return snapshot
    except OSError as exc:
        raise _not_compiled(f"failed in the cache folder: {exc.strerror}") from exc


def compile_snapshot(source: Source) -> None:
    """Read the gallery file and write its snapshot.

    :raises SpecMismatch, UnsafePickle, StoreUnavailable: the file cannot be used (see `read_pkl`).
    :raises OSError: the cache folder cannot be written.
    """
    contents = read_pkl(source.path, source.spec)
    root = gallery_root(contents.identities, source.domain, source.path.parent)
    images = [relative_image(identity, root) for identity in contents.identities]
    faces = [(person_name(image), image) for image in images]
    save_snapshot(source, GalleryMatrix.of(faces, contents.embeddings, contents.boxes), contents.left_out)


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Holds the folder's lock; yields its file descriptor, so that a child process can hold it too."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _compile_elsewhere(source: Source, lock: int) -> Snapshot:
    try:
        # The child holds the lock as well: if this process is killed, nobody else begins before the child has ended.
        ended = subprocess.run(
            [sys.executable, "-m", "app.adapters.pkl.compile"],
            input=source.to_json().encode(),
            cwd=_PROJECT_ROOT,
            pass_fds=(lock,),
            timeout=TIME_LIMIT_S,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise _not_compiled(f"took longer than {TIME_LIMIT_S} s") from exc
    raise_recorded_refusal(source)
    snapshot = load_snapshot(source.folder / source.key)
    if snapshot is None:
        last_line = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise _not_compiled(f"ended with status {ended.returncode}: {last_line.partition(':')[0] or 'no message'}")
    return snapshot


def _not_compiled(how: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The process that reads the gallery file {how}. Look for a lack of memory or disk space.", code=NOT_COMPILED
    )


def _limit_memory(file_size: int) -> None:
    """Let a file that asks for absurd amounts of memory fail here rather than take the machine down."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = in_use + _MEMORY_BASE + _MEMORY_PER_BYTE * file_size
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def main() -> int:
    """The compiling process: job on standard input, snapshot or refusal in the cache folder."""
    source = Source.from_json(sys.stdin.read())
    os.nice(_POLITENESS)
    gc.disable()  # millions of numbers and no cycles: collecting would double the time
    _limit_memory(source.path.stat().st_size)
    try:
        compile_snapshot(source)
    except AppError as exc:
        if exc.error_code not in _FAULTS_OF_THE_FILE:
            raise  # it may be gone at the next try, although the file is the same
        record_refusal(source, exc)
    return 0


if __name__ == "__main__":
    sys.exit(main())
