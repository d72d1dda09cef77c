"""The video side's part of the composition root."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from app.errors import StartupError

if TYPE_CHECKING:
    from app.adapters.job_queue import JobQueue
    from app.adapters.video_file import VideoReader
    from app.bootstrap import Container
    from app.services.video.analysis import VideoAnalyser
    from app.services.video.job_store import JobStore
    from app.services.video.objects import ObjectStore
    from app.services.video.queue_state import QueueWatch
    from app.services.video.records import VideoLimits
    from config import Settings

MEGA = 1_000_000


class VideoParts:
    """What web workers and video workers share of the video side; each part is made when it is first asked for."""

    def __init__(self, container: Container) -> None:
        self._container = container

    @cached_property
    def job_store(self) -> JobStore:
        """The rows of jobs."""
        from app.bootstrap_video_api import job_store

        return job_store(self._container)

    @cached_property
    def queue(self) -> JobQueue:
        """Where jobs wait for workers."""
        from app.adapters.job_queue import JobQueue

        return JobQueue(self._container.database)

    @cached_property
    def queue_watch(self) -> QueueWatch:
        """Whether jobs are worked on."""
        from app.adapters.queue_workers import workers_heard
        from app.services.video.queue_state import QueueWatch

        database, within_s = self._container.database, self._container.settings.video_stalled_after_s
        return QueueWatch(database, partial(workers_heard, database, within_s))

    @cached_property
    def objects(self) -> ObjectStore:
        """Where crops are kept."""
        return object_store(self._container.settings)


def object_store(settings: Settings) -> ObjectStore:
    """Crops in a folder, or in S3.

    :raises StartupError: VIDEO_STORE=s3 without a bucket, or without boto3.
    """
    if settings.video_store == "local":
        from app.adapters.local_objects import LocalObjects

        return LocalObjects(settings.videos / "objects")
    from app.adapters.s3_objects import S3Objects, S3Options

    if settings.video_s3_bucket is None:
        raise StartupError("VIDEO_STORE=s3 needs VIDEO_S3_BUCKET.")
    access, secret = settings.video_s3_access_key, settings.video_s3_secret_key
    return S3Objects(
        S3Options(
            prefix="VIDEO_S3",
            bucket=settings.video_s3_bucket,
            region=settings.video_s3_region,
            endpoint_url=settings.video_s3_endpoint_url,
            access_key=access.get_secret_value() if access else None,
            secret_key=secret.get_secret_value() if secret else None,
        )
    )


def video_limits(settings: Settings) -> VideoLimits:
    """What a video may be."""
    from app.services.video.records import VideoLimits

    return VideoLimits(settings.video_max_minutes * 60, round(settings.video_max_megapixels * MEGA))


def video_reader(settings: Settings) -> VideoReader:
    """What reads videos."""
    from app.adapters.video_file import VideoReader

    return VideoReader(video_limits(settings), settings.video_sample_fps)


def video_analyser(container: Container) -> VideoAnalyser:
    """What finds out whom a video shows, by the engine that photos go through; no model is loaded yet."""
    from app.services.video.analysis import AnalysisOptions, VideoAnalyser

    s = container.settings
    options = AnalysisOptions(s.video_sample_fps, container.threshold.distance, s.face_min_size)
    return VideoAnalyser(container.engine.embed_faces, video_reader(s), options)
