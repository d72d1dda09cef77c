"""Telling whoever sent a video that its job has ended, signed, and once more where they did not hear it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from app.errors import WebhookFailed, WebhookRefused
from app.services.video.job_records import Job
from app.services.video.webhook_store import WebhookStore

TIMESTAMP_HEADER = "X-Facerec-Timestamp"
SIGNATURE_HEADER = "X-Facerec-Signature"
LONGEST_WAIT_S = 6 * 3600.0

_MOST_ATTEMPTS = 10  # the last one about a day after the first
_FIRST_WAIT_S = 10.0

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """What posts a webhook."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """:raises WebhookFailed: it did not arrive; WebhookRefused: and never will."""
        ...


class WebhookDelivery:
    """Delivers the webhooks that wait.

    :param secret: what they are signed with.
    """

    def __init__(self, store: WebhookStore, sender: Sender, secret: str) -> None:
        self._store = store
        self._sender = sender
        self._secret = secret

    def deliver(self, job_id: str) -> float | None:
        """Send the job's webhook, if it waits still; what was delivered once is not sent again.

        A receiver may get one twice all the same, where this process ends between sending and noting it.

        :return: in how many seconds to try again; None where that is not to be.
        :raises StoreUnavailable: the database cannot be asked; where nothing was sent, no attempt is counted.
        """
        job = self._store.begin(job_id)
        if job is None or job.webhook_url is None:
            return None
        body = json.dumps(payload(job)).encode()
        try:
            self._sender.post(job.webhook_url, body, signed_headers(self._secret, body))
        except WebhookFailed as error:
            return self._failed(job, error)
        self._store.settle(job_id, "delivered")
        log.info("webhook.delivered", job_id=job_id)
        return None

    def _failed(self, job: Job, error: WebhookFailed) -> float | None:
        attempt = job.webhook_attempts
        is_last = attempt >= _MOST_ATTEMPTS or isinstance(error, WebhookRefused)
        log.warning("webhook.not_delivered", job_id=job.job_id, reason=error.message, attempt=attempt, last=is_last)
        if is_last:
            self._store.settle(job.job_id, "failed")
            return None
        return float(min(LONGEST_WAIT_S, _FIRST_WAIT_S * 4 ** (attempt - 1)))


def payload(job: Job) -> dict[str, Any]:
    """What a webhook says of a job that has ended."""
    return {
        "job_id": job.job_id,
        "tenant_id": job.tenant_id,
        "state": str(job.state),
        "finished_at": job.finished_at.isoformat(timespec="seconds") if job.finished_at else None,
        "results_url": f"/v3/results/{job.job_id}",
    }


def signed_headers(secret: str, body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers by which the receiver knows that it was us, and just now.

    :param now: Unix time.
    """
    timestamp = str(int(time.time() if now is None else now))
    return {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"sha256={signature(secret, timestamp, body)}",
    }


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over `timestamp`, a dot, and the body, in hex: an old webhook cannot be sent again as a new one."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
