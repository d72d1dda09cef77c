"""Memory of processes, as the kernel counts it (proc(5), smaps_rollup)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def own_memory_mib() -> float:
    """What this process holds and can share with no other: mapped files are not in it."""
    return _entry(Path("/proc/self/smaps_rollup"), "Anonymous:")


def family_memory_mib(pid: int) -> float:
    """A process and its children, what they share counted once."""
    return sum(_entry(folder / "smaps_rollup", "Pss:") for folder in _family(pid))


def _family(pid: int) -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = folder.joinpath("stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has ended meanwhile
        if str(pid) in (folder.name, parent):
            yield folder


def _entry(path: Path, name: str) -> float:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)
