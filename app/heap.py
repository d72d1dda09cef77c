"""How the C library's heap is made to give back what it no longer needs.

A photo's images, and a detector's pyramid of them, are buffers of several to fifty megabytes that live for a tenth of a
second. glibc learns from the first of them to keep such sizes in its heap (its dynamic mmap threshold grows up to 32
MB), and it keeps a heap per thread (up to eight per core): a worker of four threads held 582 MB after a dozen photos of
1,600 pixels, and 298 with what follows. Named thresholds end the learning, and one heap is enough where one photo is in
work at a time. It costs 3 to 5 % of a photo's time, because pages come anew from the kernel.
"""

from __future__ import annotations

import ctypes

# mallopt(3); the numbers are glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_OPTIONS = {
    _M_MMAP_THRESHOLD: 4 << 20,  # bytes: larger buffers go back to the kernel as they are freed
    _M_TRIM_THRESHOLD: 16 << 20,  # bytes: so much free space may stay at the heap's end
    _M_ARENA_MAX: 1,
}


def return_freed_memory() -> bool:
    """Set the heap of this process and of those it forks, before it has threads; False where the C library has no such.

    The environment could say the same (MALLOC_MMAP_THRESHOLD_ and others), but only before the process starts, and a
    service that is started in another way would miss it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in _OPTIONS.items())
