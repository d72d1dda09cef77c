"""The composition root's part for calibrating thresholds: labelled photos into embeddings, error rates into a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.bootstrap import Container
from app.bootstrap_ingest import PoolRequest, embedding_pool
from app.services.calibration.labelled_photos import LabelledFaces, Progress, embed_labelled
from app.services.ingest.embedding import FacePolicy

if TYPE_CHECKING:
    from app.services.calibration.error_rates import RatesAt
    from app.services.calibration.report import Calibration


def labelled_faces(container: Container, photos: Path, workers: int, progress: Progress) -> LabelledFaces:
    """Embed labelled photos with the engine as it is set, in so many processes.

    :raises BadRequest: the folder does not hold what is needed (see `embed_labelled`).
    :raises StartupError: the models cannot be loaded.
    """
    pool = embedding_pool(container, PoolRequest("processes", workers, FacePolicy.LARGEST))
    return embed_labelled(photos, pool, progress)


def marked_thresholds(container: Container) -> dict[str, float]:
    """The thresholds a proposal is to be compared with, by what they are called; cosine distances."""
    from app.adapters.face_models import model_facts
    from app.adapters.face_thresholds import measured_threshold

    spec = container.engine.spec
    named = [
        ("in use", container.pkl_policy.threshold),
        ("pgvector's", container.pgvector_policy.threshold),
        ("DeepFace's", model_facts(spec.model).threshold),
    ]
    if measured := measured_threshold(spec):
        named.append(("measured before", measured.distance))
    names: dict[float, list[str]] = {}
    for name, threshold in named:
        names.setdefault(threshold, []).append(name)
    return {", ".join(same): threshold for threshold, same in names.items()}


def require_drawable(path: Path) -> None:
    """Find out whether a plot can be drawn into this file, before hours of embedding.

    :raises StartupError: matplotlib is not installed; BadRequest: another kind of file, or no folder to write it to.
    """
    from app.adapters.tradeoff_plot import require_drawable

    require_drawable(path)


def draw_tradeoff(calibration: Calibration, marked: dict[str, RatesAt], path: Path) -> None:
    """Plot FNIR against FPIR into a PNG, SVG or PDF.

    :raises StartupError: matplotlib is not installed; BadRequest: the file cannot be written.
    """
    from app.adapters.tradeoff_plot import Tradeoff, draw

    proposal = calibration.proposal
    spec = calibration.spec
    subtitle = (
        f"{spec.model} with {spec.detector}, pipeline {spec.pipeline}: {len(calibration.faces.images):,} photos of "
        f"{calibration.faces.person_count:,} persons"
    )
    draw(Tradeoff(calibration.curve, proposal.at, marked, proposal.wanted_fpir, subtitle), path)
