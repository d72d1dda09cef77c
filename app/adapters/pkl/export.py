"""Puts a gallery of the database in the place of a domain's PKL, and keeps the file that was there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from app.adapters.pkl.naming import pkl_names, require_recorded_spec
from app.adapters.pkl.writer import write_npz, write_pkl
from app.domain import EmbeddingSpec, GalleryFace, check_domain_name
from app.errors import StoreUnavailable


class PklExport:
    """Writes domains' gallery files, named as DeepFace names them.

    :param galleries: one folder per domain; :param overrides: domain -> gallery file that lies elsewhere.
    """

    def __init__(self, galleries: Path, spec: EmbeddingSpec, overrides: Mapping[str, Path]) -> None:
        self._galleries = galleries.absolute()
        self._spec = spec
        self._overrides = overrides

    def write(self, domain: str, faces: Iterable[GalleryFace], npz: bool = False) -> list[Path]:
        """Replace the domain's gallery file in one step; the old one stays beside it, with the time in its name.

        All faces are in memory while it is written, some 20 KB for each of 512 numbers, as DeepFace has them too.

        :param npz: also write what DeepFace reads since 0.0.102.
        :return: the files that were written.
        :raises BadRequest: the domain's name cannot be one.
        :raises SpecMismatch: PKL_FILES names a file that would be taken for one of another spec.
        :raises StoreUnavailable: code `pkl_unwritable`; what was there is untouched.
        """
        root = self._galleries / check_domain_name(domain)
        rows = list(faces)
        written = []
        try:
            for path in self._paths(domain, root, npz):
                path.parent.mkdir(parents=True, exist_ok=True)
                _keep(path)
                write = write_npz if path.suffix == ".npz" else write_pkl
                write(path, rows, root)
                written.append(path)
        except OSError as exc:
            raise StoreUnavailable(
                f"The gallery file cannot be written: {exc.strerror}.", code="pkl_unwritable"
            ) from exc
        return written

    def _paths(self, domain: str, root: Path, npz: bool) -> list[Path]:
        pkl_name, npz_name, *_ = pkl_names(self._spec)
        paths = [self._overrides.get(domain) or root / pkl_name]
        require_recorded_spec(paths[0], self._spec)
        return [*paths, root / npz_name] if npz else paths


def _keep(path: Path) -> None:
    """Give the file a second name, which outlives its replacement; no reader takes `.bak` for a gallery."""
    if path.exists():
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        os.link(path, path.with_name(f"{path.name}.{now}.bak"))
