"""How many threads compute in a process: one rule for the model, BLAS, OpenMP and OpenCV.

Left alone, each of these starts a thread per core in each worker, and workers that share the cores take them from each
other. `systemd/gunicorn.conf.py` explains the rule for the web service; a bulk load's processes have one thread each.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores this process may keep busy: those it may run on, or fewer by a cgroup's quota; at least 1."""
    return max(1, math.floor(min(len(os.sched_getaffinity(0)), _quota())))


def threads_per_worker(workers: int, cores: int | None = None) -> int:
    """Threads that compute in each of `workers` processes, so that together they have a thread per core; at least 1.

    :param cores: `usable_cores()` where not given.
    """
    return max(1, (cores or usable_cores()) // workers)


def thread_variables(threads: int) -> dict[str, str]:
    """What BLAS, OpenMP and TensorFlow read when they are loaded, as environment variables."""
    several = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    return dict.fromkeys(several, str(threads)) | {"TF_NUM_INTEROP_THREADS": "1"}


def limit_threads(threads: int) -> None:
    """Have this process compute with so many threads at a time; call it before a model is loaded.

    NumPy's BLAS was loaded with the first array and reads no variable any more: threadpoolctl tells it. What is loaded
    later (TensorFlow) reads the variables. OpenCV and onnxruntime read none.
    """
    import cv2
    import onnxruntime
    from threadpoolctl import threadpool_limits

    os.environ.update(thread_variables(threads))
    threadpool_limits(threads)
    cv2.setNumThreads(threads)
    # DeepFace makes its sessions without asking for a number of threads, and the default is one per core.
    onnxruntime.SessionOptions = _limited_options(onnxruntime.SessionOptions, threads)


def _limited_options(options: type[Any], threads: int) -> type[Any]:
    class LimitedOptions(options):  # type: ignore[misc]  # a class of an extension module
        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = threads
            self.inter_op_num_threads = 1

    return LimitedOptions


def _quota() -> float:
    """Cores' worth of time that the cgroup, or one above it, grants; infinite where none sets a limit."""
    found = [_granted(folder / "cpu.max") for folder in _cgroup_folders()]
    return min(found, default=math.inf)


def _cgroup_folders() -> list[Path]:
    """This process's cgroup (version 2) and those above it; inside a container, only the container's own is seen."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = _CGROUPS / own
    return [folder, *(above for above in folder.parents if above.is_relative_to(_CGROUPS))]


def _granted(cpu_max: Path) -> float:
    """`max 100000` or `150000 100000`: microseconds of time in each period."""
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf
