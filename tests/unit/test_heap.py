"""A process that has freed its large buffers does not keep them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Buffers of a photo's size, freed in several threads: without named thresholds glibc keeps a heap of them per thread.
WORK = """
import threading
from pathlib import Path
import numpy as np
from app.heap import return_freed_memory

assert return_freed_memory()

held = []  # small ones that stay between the large ones

def work():
    for _ in range(3):
        kept = [np.ones(6 << 20, dtype=np.uint8) for _ in range(8)]
        del kept[::2]
        held.append(np.ones(200_000, dtype=np.uint8))

threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
anonymous = [line for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if line.startswith("Anonymous")]
print(int(anonymous[0].split()[1]) // 1024)
"""


def test_large_buffers_freed_in_threads_go_back_to_the_kernel() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60, "MiB after 4 threads freed 48 each, three times"
