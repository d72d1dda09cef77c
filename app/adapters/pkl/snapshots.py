"""The PKL galleries of all domains, held ready for searching and kept up to date without a restart.

Each domain's file is compiled once per change (`compile`), and every worker maps the result. Make one
`PklSnapshots` per process, after the fork: it starts threads.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from app.adapters.pkl.domain_gallery import DomainGallery, GalleryStatus
from app.adapters.pkl.naming import pkl_path
from app.domain import EmbeddingSpec, check_domain_name
from app.errors import AppError, BadRequest, SpecMismatch, StartupError, UnknownDomain
from app.gallery_matrix import GalleryMatrix

CHECK_EVERY_S = 1.0


class PklSnapshots:
    """The PKL galleries of all domains.

    :param galleries: one folder per domain; its PKL lies in it, named as DeepFace names it.
    :param cache: folder for the snapshots, used by nothing else.
    :param spec: what the engine embeds with; files of other specs are refused.
    :param overrides: domain -> gallery file, for files that lie elsewhere or have names of their own.
    :param check_every_s: how often, at most, a domain's file is looked at for changes.
    """

    def __init__(
        self,
        galleries: Path,
        cache: Path,
        spec: EmbeddingSpec,
        overrides: Mapping[str, Path],
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._folder = galleries.absolute()
        self._cache = cache.absolute()
        self._spec = spec
        self._overrides = {domain: path.absolute() for domain, path in overrides.items()}
        self._check_every_s = check_every_s
        self._galleries: dict[str, DomainGallery] = {}

    def domains(self) -> frozenset[str]:
        """The domains with a file of this spec or a snapshot in use; `current` tells which files are damaged."""
        held = {domain for domain, gallery in list(self._galleries.items()) if gallery.is_usable}
        return frozenset(held.union(domain for domain in self._candidates() if self._has_file(domain)))

    def current(self, domain: str) -> GalleryMatrix:
        """What is searched now in a domain; only its very first call waits.

        :raises UnknownDomain: it has no gallery.
        :raises SpecMismatch: its gallery is of another spec.
        :raises StoreUnavailable: code `gallery_unavailable`, its file is unsafe, damaged or cannot be read.
        """
        return self._gallery(domain).current()

    def taken_now(self, domain: str) -> GalleryMatrix:
        """The domain's file as it lies there at this moment, compiled and in use; what was made of others is removed.

        :raises UnknownDomain, SpecMismatch, StoreUnavailable: the file cannot be used as it is now.
        """
        return self._gallery(domain).take_now()

    def file_of(self, domain: str) -> Path:
        """The domain's gallery file.

        :raises UnknownDomain: it has none.
        :raises SpecMismatch: it has files of other specs only.
        """
        return self._locate(domain)

    def check_all(self) -> None:
        """Make every gallery ready, and forget those whose file is gone; called once, before the first request.

        :raises SpecMismatch: a gallery is of another spec, and nothing made earlier can stand in for it.
        :raises StartupError: a configured file does not exist, or no gallery can be used.
        """
        self._require_overrides()
        failures = [failure for domain in sorted(self._candidates()) if (failure := self._failure(domain))]
        self._remove_orphans()
        if failures and not any(gallery.is_usable for gallery in self._galleries.values()):
            raise StartupError(failures[0].message) from failures[0]

    def status(self) -> dict[str, GalleryStatus]:
        """The state of each domain that was used or checked."""
        return {domain: gallery.status() for domain, gallery in sorted(self._galleries.items())}

    def _failure(self, domain: str) -> AppError | None:
        """Why the domain cannot be searched; a folder of images without a gallery file is no failure."""
        try:
            self.current(domain)
        except SpecMismatch:
            raise
        except UnknownDomain:
            return None
        except AppError as exc:
            return exc
        return None

    def _gallery(self, domain: str) -> DomainGallery:
        gallery = self._galleries.get(domain)
        if gallery is None:
            with suppress(SpecMismatch):  # an earlier snapshot may stand in for a file of another spec
                self._locate(domain)
            gallery = DomainGallery(
                domain, partial(self._locate, domain), self._cache / domain, self._spec, self._check_every_s
            )
        return self._galleries.setdefault(domain, gallery)

    def _candidates(self) -> set[str]:
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        return {*self._overrides, *(folder.name for folder in folders if folder.is_dir())}

    def _has_file(self, domain: str) -> bool:
        try:
            self._locate(domain)
        except (UnknownDomain, SpecMismatch):
            return False
        return True

    def _locate(self, domain: str) -> Path:
        """The domain's gallery file; its name is checked first, because it becomes a path."""
        try:
            check_domain_name(domain)
        except BadRequest as exc:
            raise _no_gallery(domain) from exc
        path = self._overrides.get(domain) or pkl_path(self._folder / domain, self._spec)
        if path is None or not path.is_file():
            raise _no_gallery(domain)
        return path

    def _require_overrides(self) -> None:
        for domain, path in self._overrides.items():
            if not path.is_file():
                raise StartupError(f"PKL_FILES names {path} for domain '{domain}', and there is no such file.")

    def _remove_orphans(self) -> None:
        """Faces of a gallery that was removed must not live on in the cache."""
        for lock in self._cache.glob("*/.lock"):
            try:
                self._locate(lock.parent.name)
            except UnknownDomain:
                shutil.rmtree(lock.parent, ignore_errors=True)
            except SpecMismatch:
                continue


def _no_gallery(domain: str) -> UnknownDomain:
    return UnknownDomain(
        f"Domain '{domain}' has no PKL gallery. Put the PKL, named as DeepFace names it, in its folder."
    )
