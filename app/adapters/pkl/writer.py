"""Writes a gallery as DeepFace itself would keep it, so that DeepFace (and a rollback) can go on from it."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from app.atomic_file import write_atomically
from app.domain import GalleryFace

_PICKLE_PROTOCOL = 4  # what every Python that DeepFace runs on can read
_MODE = 0o640  # faces are nobody else's business


def write_pkl(path: Path, faces: Iterable[GalleryFace], root: Path) -> int:
    """Write a `.pkl` as DeepFace 0.0.90 to 0.0.101 does: a pickled list of dicts; replaces `path` in one step.

    :param faces: rows; each `image` is relative to `root`.
    :param root: the folder given to DeepFace as `db_path`; identities become paths below it, as written here.
    :return: the number of rows written.
    :raises OSError: the folder cannot be written; what was at `path` is untouched.
    """
    rows = [_row(face, root) for face in faces]
    write_atomically(path, pickle.dumps(rows, _PICKLE_PROTOCOL), _MODE)
    return len(rows)


def write_npz(path: Path, faces: Iterable[GalleryFace], root: Path) -> int:
    """Write an `.npz` as DeepFace does since 0.0.102; the parameters and errors are those of `write_pkl`."""
    rows = [_row(face, root) for face in faces]
    columns: dict[str, Any] = {
        "embedding": np.array([row["embedding"] for row in rows] or np.zeros((0, 0)), dtype=np.float64),
        "has_embedding": np.ones(len(rows), dtype=bool),
        **{name: np.array([row[name] for row in rows], dtype=np.str_) for name in ("identity", "hash")},
        **{f"target_{side}": np.array([row[f"target_{side}"] for row in rows], dtype=np.int64) for side in "xywh"},
    }
    archive = io.BytesIO()
    np.savez(archive, **columns)
    write_atomically(path, archive.getvalue(), _MODE)
    return len(rows)


def _row(face: GalleryFace, root: Path) -> dict[str, Any]:
    image = root / face.image
    return {
        "identity": str(image),
        "hash": _file_hash(image),
        "embedding": face.embedding.tolist(),
        "target_x": face.box.x,
        "target_y": face.box.y,
        "target_w": face.box.w,
        "target_h": face.box.h,
    }


def _file_hash(image: Path) -> str:
    """DeepFace's mark of an unchanged file (deepface/commons/image_utils.py); empty for one that is gone.

    DeepFace embeds every image anew whose mark differs.
    """
    try:
        facts = image.stat()
    except OSError:
        return ""
    properties = f"{facts.st_size}-{facts.st_ctime}-{facts.st_mtime}"
    return hashlib.sha1(properties.encode(), usedforsecurity=False).hexdigest()
