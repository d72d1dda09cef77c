"""The composition root's part for the video worker: what it does with a ticket, and where."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from app.bootstrap import Container
from app.bootstrap_parity import known_in_pkl
from app.bootstrap_video import video_analyser
from app.bootstrap_video_api import upload_folder, video_retention, webhook_delivery
from app.domain import FaceMatches
from app.errors import SpecMismatch
from app.logs import configure_logging
from config import Settings

if TYPE_CHECKING:
    from app.services.video.analysis import VideoAnalyser
    from app.services.video.job_watch import Shutdown
    from app.services.video.pipeline import VideoPipeline
    from app.services.video.queue_work import Handlers
    from app.services.video.stages import Analyser, Searches


def handlers(container: Container, pipeline: VideoPipeline, shutdown: Shutdown) -> Handlers:
    """What a worker does with the queue's entries."""
    from app.services.video.queue_work import Handlers
    from app.services.video.tickets import Tickets

    return Handlers(
        run=lambda ticket: pipeline.run(ticket, shutdown),
        deliver=partial(_deliver, container),
        owed=Tickets(container.database, container.settings.video_stalled_after_s).owed,
        tidy=lambda: video_retention(container).run(),
        stopping=shutdown.begin,
    )


def video_pipeline(container: Container, analyser: Analyser | None = None) -> VideoPipeline:
    """What works on jobs; its models are loaded by whoever starts it.

    :param analyser: in the place of the one that is set.
    """
    from app.services.video.identity_store import IdentityStore
    from app.services.video.pipeline import PipelineOptions, VideoPipeline
    from app.services.video.stages import VideoStages, VideoStores

    s, videos = container.settings, container.videos
    identities = IdentityStore(container.database, container.engine.spec.key, partial(known_in_pkl, container))
    stores = VideoStores(videos.job_store, identities, videos.objects)
    return VideoPipeline(
        VideoStages(analyser or _analyser(container), stores, _searches(container)),
        stores,
        upload_folder(container),
        videos.queue.defer_webhook,
        PipelineOptions(s.video_max_attempts, s.video_keep_upload),
    )


def _searches(container: Container) -> Searches:
    from app.services.video.stages import Searches

    search = container.profile_search
    profiles = None if search is None else search.search_profiles
    return Searches(partial(_gallery, container), profiles, container.threshold.distance)


def _gallery(container: Container, domain: str, probes: NDArray[np.float64]) -> list[FaceMatches]:
    """The persons of a domain, in the gallery that answers `/recognize`."""
    if container.settings.pgvector_answers:
        return container.pgvector_recognition.search(domain, probes)
    return container.recognition_service.search(domain, probes)


def _analyser(container: Container) -> Analyser:
    local, address = video_analyser(container), container.settings.video_ray_address
    if address is None:
        return local
    from app.adapters.embedding.ray_video import RayAnalyser

    build = partial(remote_analyser, public_settings(container.settings), container.engine.spec.key)
    return RayAnalyser(build, local.identify, address)


def remote_analyser(settings: Settings, spec_key: str) -> VideoAnalyser:
    """What reads videos on a node of a cluster, its models loaded.

    :raises SpecMismatch: the node's weights are not those of the worker.
    :raises StartupError: a model cannot be loaded.
    """
    configure_logging(settings.log_level, settings.log_format)
    container = Container(settings)
    if container.engine.spec.key != spec_key:
        raise SpecMismatch("A node has other weights or versions than this machine: install the same on all nodes.")
    container.engine.warm()
    return video_analyser(container)


def public_settings(settings: Settings) -> Settings:
    """Without any secret, and with the weights where they are, for a process that may work in another folder."""
    secrets: dict[str, None] = {name: None for name, value in settings if isinstance(value, SecretStr)}
    home: dict[str, Path] = {"deepface_home": settings.weights_home.absolute()}
    return settings.model_copy(update=secrets | home)


def _deliver(container: Container, job_id: str) -> float | None:
    """Send a job's webhook; in how many seconds to try again."""
    from app.services.video.webhook import LONGEST_WAIT_S

    delivery = webhook_delivery(container)
    if delivery is None:
        return LONGEST_WAIT_S  # the secret was taken away, and may come back
    return delivery.deliver(job_id)
