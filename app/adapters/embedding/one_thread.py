"""One thread per worker process: with as many workers as cores, the libraries' own threads only get in the way."""

from __future__ import annotations

from typing import Any

# Read when the libraries are loaded, so a worker must be started with them.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def limit_threads() -> None:
    """Have OpenCV and onnxruntime work in the calling thread; they read no variable. Before any model is loaded."""
    import cv2
    import onnxruntime

    cv2.setNumThreads(1)
    # DeepFace makes its sessions without asking for a number of threads, and the default is one per core.
    onnxruntime.SessionOptions = _one_thread_options(onnxruntime.SessionOptions)


def _one_thread_options(options: type[Any]) -> type[Any]:
    class OneThreadOptions(options):  # type: ignore[misc]  # a class of an extension module
        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = 1
            self.inter_op_num_threads = 1

    return OneThreadOptions
