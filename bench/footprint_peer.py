"""DeepFace's own HTTP API with its gallery in memory: what `bench.footprint` compares with.

The API keeps its faces in a database of its own, and `DeepFace.find` unpickled its file on every call. The peer is
given the better of both: the gallery is unpickled once per worker, into the frame that `find` searched, and stays.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pandas as pd


def create_app(gallery: str) -> Any:
    """The API as DeepFace makes it; it loads its models while it starts, as its environment says.

    :param gallery: a PKL as DeepFace 0.0.90 to 0.0.101 wrote it; this benchmark wrote it itself.
    """
    from deepface.api.src import app as api

    application = api.create_app()
    application.extensions["gallery"] = pd.DataFrame(pickle.loads(Path(gallery).read_bytes()))  # noqa: S301
    return application
