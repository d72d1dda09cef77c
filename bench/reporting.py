"""What every benchmark does with its figures: the spread of the times, the machine, a file, and one line of JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """Median and tail of times: `p50_ms`, `p95_ms`, `p99_ms`.

    :param times_ms: at least one.
    """
    return {f"p{q}_ms": round(float(np.percentile(times_ms, q)), 3) for q in (50, 95, 99)}


def machine() -> dict[str, Any]:
    """What the figures were measured on: cores, their kind, memory in GiB, Python, the day (UTC)."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "measured_on": datetime.now(UTC).date().isoformat(),
    }


def publish(name: str, figures: Mapping[str, Any], results: Path = RESULTS) -> None:
    """Write `<name>.json` into `results` and print the figures as the last line, in JSON.

    :param figures: JSON-serialisable; `machine` is added.
    """
    document = {"benchmark": name, **figures, "machine": machine()}
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
