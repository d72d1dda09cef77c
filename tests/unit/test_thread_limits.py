"""What computes is as much as there are cores, whatever says how many there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import thread_limits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process in `system.slice/face.service` on a machine of eight cores."""
    own = tmp_path / "self"
    own.write_text("1:name=other:/elsewhere\n0::/system.slice/face.service\n")
    (tmp_path / "fs" / "system.slice" / "face.service").mkdir(parents=True)
    monkeypatch.setattr(thread_limits, "_OWN_CGROUP", own)
    monkeypatch.setattr(thread_limits, "_CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path / "fs"


def test_without_a_quota_the_affinity_counts(cgroups: Path) -> None:
    (cgroups / "system.slice" / "face.service" / "cpu.max").write_text("max 100000\n")
    assert thread_limits.usable_cores() == 8


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2), ("350000", 3), ("50000", 1), ("nonsense", 8)])
def test_a_quota_of_the_service_counts_in_whole_cores(cgroups: Path, quota: str, cores: int) -> None:
    (cgroups / "system.slice" / "face.service" / "cpu.max").write_text(f"{quota} 100000\n")
    assert thread_limits.usable_cores() == cores


def test_a_quota_above_the_service_counts_too(cgroups: Path) -> None:
    (cgroups / "system.slice" / "cpu.max").write_text("400000 100000\n")
    assert thread_limits.usable_cores() == 4


@pytest.mark.parametrize(("workers", "cores", "threads"), [(2, 2, 1), (1, 4, 4), (2, 5, 2), (8, 2, 1)])
def test_workers_and_their_threads_make_as_much_as_there_are_cores(workers: int, cores: int, threads: int) -> None:
    assert thread_limits.threads_per_worker(workers, cores) == threads


@pytest.mark.parametrize("threads", [1, 2])
def test_every_library_that_is_loaded_follows(threads: int) -> None:
    code = f"""
import numpy, cv2
from threadpoolctl import threadpool_info
from app.thread_limits import limit_threads
limit_threads({threads})
import onnxruntime
pools = {{each["num_threads"] for each in threadpool_info() if each["internal_api"] == "openblas"}}
print(pools, cv2.getNumThreads(), onnxruntime.SessionOptions().intra_op_num_threads)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.split() == [f"{{{threads}}}", str(threads), str(threads)]
