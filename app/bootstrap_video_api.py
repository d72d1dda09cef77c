"""The composition root's part for videos over HTTP, and for what is done about jobs when they have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from app.errors import BadRequest

if TYPE_CHECKING:
    from app.adapters.webhook_http import WebhookSender
    from app.bootstrap import Container
    from app.controllers.video_controller import VideoController
    from app.services.video.job_store import JobStore
    from app.services.video.removal import VideoRemoval
    from app.services.video.retention import VideoRetention
    from app.services.video.uploads import UploadFolder
    from app.services.video.webhook import WebhookDelivery

MIB = 1024 * 1024


def job_store(container: Container) -> JobStore:
    """The rows of jobs."""
    from app.services.video.job_store import JobStore

    return JobStore(container.database, container.settings.video_tenant_max_jobs)


def upload_folder(container: Container) -> UploadFolder:
    """Where uploads lie until they are processed."""
    from app.services.video.uploads import UploadFolder

    return UploadFolder(container.settings.videos / "uploads", container.settings.video_max_mb * MIB)


def video_controller(container: Container) -> VideoController:
    """Everything under `/v3`; it needs a database, and says so when it is used without one."""
    from app.adapters.video_probe import probe_apart
    from app.bootstrap_video import video_limits
    from app.controllers.video_controller import VideoController, VideoServices
    from app.services.video.results import VideoResults

    videos = container.videos
    services = VideoServices(
        jobs=videos.job_store,
        uploads=upload_folder(container),
        objects=videos.objects,
        results=VideoResults(container.database, partial(_photos, container)),
        removal=_removal(container),
        probe=partial(probe_apart, limits=video_limits(container.settings)),
        spec_key=lambda: container.engine.spec.key,
        defer=videos.queue.defer,
        check_webhook=partial(_check_webhook, container),
    )
    return VideoController(services)


def webhook_delivery(container: Container) -> WebhookDelivery | None:
    """What delivers webhooks; None while there is no secret to sign them with."""
    from app.services.video.webhook import WebhookDelivery
    from app.services.video.webhook_store import WebhookStore

    secret = container.settings.video_webhook_secret
    if secret is None:
        return None
    return WebhookDelivery(WebhookStore(container.database), _sender(container), secret.get_secret_value())


def video_retention(container: Container) -> VideoRetention:
    """What removes jobs that are too old."""
    from app.services.video.retention import VideoRetention

    s, jobs = container.settings, container.videos.job_store
    kept = s.video_retention_days, s.video_keep_upload
    return VideoRetention(jobs, _removal(container), upload_folder(container), *kept)


def _removal(container: Container) -> VideoRemoval:
    from app.services.video.removal import VideoRemoval

    return VideoRemoval(container.videos.job_store, upload_folder(container), container.videos.objects)


def _photos(container: Container, keys: Iterable[str]) -> Mapping[str, bytes]:
    """Photos of profiles; none while profile search is off."""
    return container.profile_search.photos(keys) if container.profile_search is not None else {}


def _check_webhook(container: Container, url: str) -> None:
    if container.settings.video_webhook_secret is None:
        raise BadRequest("Webhooks are off here: the operator has set no VIDEO_WEBHOOK_SECRET.", code="webhooks_off")
    _sender(container).check(url)


def _sender(container: Container) -> WebhookSender:
    from app.adapters.webhook_http import WebhookSender

    return WebhookSender(container.settings.video_webhook_allow_private)
