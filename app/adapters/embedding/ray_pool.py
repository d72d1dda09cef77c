"""Embedding workers on a Ray cluster, or on a local Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from app.adapters.embedding.jobs import AHEAD, Backlog, EmbedPhoto, Job
from app.adapters.embedding.one_thread import limit_threads
from app.adapters.embedding.ray_cluster import connected
from app.errors import AppError, StartupError

if TYPE_CHECKING:
    from ray import ObjectRef


class RayPool:
    """Embeds photos in actors, one per core, each with its own model; an actor that dies is replaced.

    The bytes of the photos go to the actors, so the nodes need no access to the images.

    :param build: run in each actor, so it is pickled; makes the function that embeds.
    :param workers: at most so many actors; fewer where the cluster has fewer cores.
    :param address: of an existing cluster, as `ray.init` takes it; None for a local Ray that ends with the run.
    """

    def __init__(self, build: Callable[[], EmbedPhoto], workers: int, address: str | None) -> None:
        self._build = build
        self._workers = workers
        self._address = address

    def embed(self, photos: Iterable[tuple[str, bytes]]) -> Generator[tuple[str, Any], None, None]:
        """Embed each photo, in any order.

        :param photos: keys and bytes, taken as actors get free.
        :return: each key with what the actor's function gave, or None where actors died twice over the photo.
        :raises StartupError: ray is not installed, or an actor cannot be made; AppError: as `build` raised it.
        :raises StoreUnavailable: no cluster answers at the address.
        """
        backlog = Backlog(photos)
        first = backlog.next()
        if first is None:
            return
        backlog.take_back([first], blame_first=False)
        with connected(self._address, self._workers) as ray:
            crew = _Crew(ray, self._build, min(self._workers, int(ray.cluster_resources().get("CPU", 1))), backlog)
            while crew.hand_out():
                yield from crew.listen()


class _Embedder:
    """The actor: a model in a process of its own, somewhere on the cluster."""

    def __init__(self, build: Callable[[], EmbedPhoto]) -> None:
        self._build = build

    def load(self) -> AppError | None:
        """Build; an error is returned, because Ray would wrap a raised one."""
        limit_threads()
        try:
            self._embed = self._build()
        except AppError as error:
            return error
        return None

    def embed(self, photo: bytes) -> Any:
        return self._embed(photo)


class _Crew:
    """The actors of one `embed`, and what each is at."""

    def __init__(self, ray: Any, build: Callable[[], EmbedPhoto], size: int, backlog: Backlog) -> None:
        self._ray = ray
        self._build = build
        self._backlog = backlog
        self._jobs: dict[ObjectRef[Any], tuple[Any, Job]] = {}  # in the order they were given, per actor
        self._actors = self._hire(max(1, size))

    def hand_out(self) -> bool:
        """Give the actors what they can take; whether any has work."""
        while (actor := self._least_busy()) is not None:
            job = self._backlog.next()
            if job is None:
                break
            self._jobs[actor.embed.remote(job.photo)] = actor, job
        return bool(self._jobs)

    def listen(self) -> Iterator[tuple[str, Any]]:
        """Wait for one result."""
        (done,), _ = self._ray.wait(list(self._jobs), num_returns=1)
        actor, job = self._jobs[done]
        try:
            result = self._ray.get(done)
        except self._ray.exceptions.RayActorError:
            yield from self._bury(actor)
        except self._ray.exceptions.RayTaskError as exc:
            raise (exc.cause if isinstance(exc.cause, AppError) else exc) from None
        else:
            del self._jobs[done]
            yield job.key, result

    def _hire(self, count: int) -> list[Any]:
        remote = self._ray.remote(num_cpus=1)(_Embedder)
        actors = [remote.remote(self._build) for _ in range(count)]
        try:
            refusals = self._ray.get([actor.load.remote() for actor in actors])
        except self._ray.exceptions.RayError as exc:
            raise StartupError("A Ray actor could not load the model; its log on the cluster says why.") from exc
        for refusal in refusals:
            if refusal is not None:
                raise refusal
        return actors

    def _least_busy(self) -> Any | None:
        busy = Counter(id(actor) for actor, _ in self._jobs.values())
        actor = min(self._actors, key=lambda actor: busy[id(actor)])
        return actor if busy[id(actor)] < AHEAD else None

    def _bury(self, actor: Any) -> Iterator[tuple[str, Any]]:
        refs = [ref for ref, (owner, _) in self._jobs.items() if owner is actor]
        jobs = [self._jobs.pop(ref)[1] for ref in refs]
        self._actors.remove(actor)
        for key in self._backlog.take_back(jobs, blame_first=True):
            yield key, None
        self._actors += self._hire(1)
