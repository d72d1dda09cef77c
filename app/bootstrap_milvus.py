"""The composition root's part for a gallery that is searched in Milvus (GALLERY_BACKEND=milvus, docs/milvus.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import StartupError

if TYPE_CHECKING:
    from app.adapters.milvus_gallery import MilvusGallery
    from app.bootstrap import Container
    from app.services.mirror.mirrored_gallery import MirroredGallery
    from app.services.mirror.outbox import Backlog, Outbox
    from app.services.mirror.sync import MirrorSync

_READY_S = 3.0


@dataclass(frozen=True, slots=True)
class MilvusMirror:
    """The parts of the gallery in Milvus."""

    index: MilvusGallery
    outbox: Outbox
    gallery: MirroredGallery

    def warm(self) -> None:
        """Connect, and bring what a process that died left behind.

        :raises StoreUnavailable: Milvus cannot be reached, or holds no such gallery.
        """
        self.index.require_ready(_READY_S)
        self.outbox.follow_beside()

    def close(self) -> None:
        """Close this process's client."""
        self.index.close()

    def backlog(self) -> Backlog:
        """What Milvus lacks, if it answers at all.

        :raises StoreUnavailable: a store cannot be reached, or the gallery was not copied.
        """
        self.index.require_ready(_READY_S)
        return self.outbox.backlog()


def mirror(container: Container) -> MilvusMirror:
    """The gallery in Milvus, for the engine's spec; nothing is connected yet.

    :raises StartupError: GALLERY_MILVUS_URI is not set.
    """
    from app.services.mirror.mirrored_gallery import MirroredGallery
    from app.services.mirror.outbox import Outbox

    index = _index(container)
    outbox = Outbox(container.database, container.engine.spec, index)
    gallery = MirroredGallery(container.database, container.engine.spec, container.vector_db, index, outbox)
    return MilvusMirror(index, outbox, gallery)


def sync(container: Container) -> MirrorSync:
    """What copies the gallery to Milvus; also before GALLERY_BACKEND is set to it.

    :raises StartupError: GALLERY_MILVUS_URI is not set.
    """
    from app.services.mirror.sync import MirrorSync

    used = container.mirror or mirror(container)
    return MirrorSync(container.database, container.engine.spec, used.index, used.outbox)


def _index(container: Container) -> MilvusGallery:
    from app.adapters.milvus_connection import Milvus
    from app.adapters.milvus_gallery import CollectionOptions, MilvusGallery

    s, spec = container.settings, container.engine.spec
    if s.gallery_milvus_uri is None:
        raise StartupError("GALLERY_MILVUS_URI is not set: name the Milvus that the gallery is to be searched in.")
    token = s.gallery_milvus_token.get_secret_value() if s.gallery_milvus_token else ""
    name = f"{s.gallery_milvus_collection}_{spec.key}"
    options = CollectionOptions(name, spec.dimensions, s.gallery_milvus_index, s.gallery_milvus_ef)
    return MilvusGallery(Milvus(s.gallery_milvus_uri.get_secret_value(), token), options)
