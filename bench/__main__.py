"""The short form of every benchmark, one after the other, for `make bench`: some minutes alone on two cores.

Each is a process of its own, so that none finds the memory or the caches of the one before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

# The full forms, which docs/performance.md shows, are those without these arguments.
SHORT_FORMS = {
    "bench.engine": ["--repeat", "1", "--hard-faces", "0"],
    "bench.search": [
        "--shapes",
        "short",
        "--probes",
        "300",
        "--tuning-probes",
        "1000",
        "--deepface-probes",
        "1",
        "--clients",
        "",
    ],
    "bench.recognize": ["--clients", "1", "8", "--photos", "6", "--seconds", "4", "--rounds", "2"],
    "bench.profiles": [
        "--profiles",
        "25000",
        "--probes",
        "100",
        "--network-ms",
        "25",
        "--no-contract-times",
        "--no-efforts",
    ],
    "bench.video": ["--minutes", "1", "--peer-seconds", "10"],
    "bench.footprint": ["--workers", "1", "2", "--rounds", "1", "--photos", "4"],
}

console = Console(highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run each, show what it shows; the number of those that failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of real photos; else faces from installed packages")
    images = parser.parse_args(argv).images
    failed = [module for module, short in SHORT_FORMS.items() if not _run(module, [*short, *_photos(module, images)])]
    for module in failed:
        console.print(f"[red]{module} failed[/red]")
    return len(failed)


def _run(module: str, arguments: Sequence[str]) -> bool:
    console.rule(f"python -m {module} {' '.join(arguments)}")
    began = time.monotonic()
    status = subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
    console.print(f"{module}: {time.monotonic() - began:.0f} s")
    return status == 0


def _photos(module: str, images: Path | None) -> list[str]:
    """A folder of photos may hold `pairs.csv`, which says which of them show one person."""
    if images is None or module not in {"bench.engine", "bench.recognize"}:
        return []
    pairs = images / "pairs.csv"
    labelled = module == "bench.engine" and pairs.exists()
    return ["--images", str(images), *(["--pairs", str(pairs)] if labelled else [])]


if __name__ == "__main__":
    sys.exit(main())
