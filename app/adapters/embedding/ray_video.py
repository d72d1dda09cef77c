"""A video read on a Ray cluster: the frames and the model are there, only what was found comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.adapters.embedding.one_thread import limit_threads
from app.adapters.embedding.ray_cluster import connected
from app.errors import AppError, StoreUnavailable

if TYPE_CHECKING:
    from app.services.video.analysis import FoundTracks, VideoAnalyser, Watch
    from app.services.video.records import VideoAnalysis

_LOOK_EVERY_S = 1.0


class RayAnalyser:
    """Reads videos on the cluster, and finds out here whom they show; implements `Analyser`.

    The nodes read the upload at the path that it has here: its folder must be shared with them.

    :param build: run on the node, so it is pickled; makes what reads there.
    :param identify: clusters what was found; seconds.
    :param address: of the cluster, as `ray.init` takes it.
    """

    def __init__(
        self,
        build: Callable[[], VideoAnalyser],
        identify: Callable[[FoundTracks], VideoAnalysis],
        address: str,
    ) -> None:
        self._build = build
        self._identify = identify
        self._address = address

    def read(self, path: Path, watch: Watch) -> FoundTracks:
        """As `VideoAnalyser.read`; `watch` is told once a second.

        :raises StoreUnavailable: no cluster answers, or a node was lost.
        """
        with connected(self._address, workers=1) as ray:
            notes = ray.remote(num_cpus=0)(_Notes).remote()
            reading = ray.remote(num_cpus=1, max_retries=0)(_read).remote(self._build, str(path.absolute()), notes)
            try:
                while not ray.wait([reading], timeout=_LOOK_EVERY_S)[0]:
                    watch.progress(*ray.get(notes.last.remote()))
                found: FoundTracks = ray.get(reading)
            except ray.exceptions.RayTaskError as exc:
                raise (exc.cause if isinstance(exc.cause, AppError) else exc) from None
            except ray.exceptions.RayError as exc:
                raise StoreUnavailable("The Ray cluster lost the video it was reading.", code="ray_lost") from exc
            except BaseException:  # cancelled, or this worker ends
                ray.cancel(reading, force=True)
                raise
        return found

    def identify(self, found: FoundTracks) -> VideoAnalysis:
        """As `VideoAnalyser.identify`."""
        return self._identify(found)


class _Notes:
    """The actor through which a task tells how far it is; also a `Watch`, on the node's side of it."""

    def __init__(self) -> None:
        self._last: tuple[int, int | None, int] = (0, None, 0)

    def tell(self, *numbers: Any) -> None:
        self._last = numbers

    def last(self) -> tuple[int, int | None, int]:
        return self._last


class _RemoteWatch:
    """Passes on what it is told, and waits for no answer."""

    def __init__(self, notes: Any) -> None:
        self._notes = notes

    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        self._notes.tell.remote(frames_done, frames_total, faces)


def _read(build: Callable[[], VideoAnalyser], path: str, notes: Any) -> FoundTracks:
    """The task."""
    limit_threads()
    if not Path(path).exists():
        raise StoreUnavailable(
            "A Ray node does not see the upload: share STORAGE_DIR/videos with the nodes, at the same path.",
            code="upload_not_shared",
        )
    return build().read(Path(path), _RemoteWatch(notes))
