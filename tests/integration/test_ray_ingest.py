"""`--engine ray` on a local Ray: the same rows as with processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.postgres import Database
from tests.integration.ingest_gallery import IngestGallery

pytest.importorskip("ray", reason="Ray is an optional extra: pip install -r requirements-ray.txt")


@pytest.mark.slow
def test_ray_stores_the_same_rows_as_processes(
    tmp_path: Path, make_database: Callable[[], Database], postgres: EmbeddedPostgres
) -> None:
    galleries = [
        IngestGallery.make(tmp_path / engine, make_database(), postgres, persons=2) for engine in ("processes", "ray")
    ]
    for gallery, engine in zip(galleries, ("processes", "ray"), strict=True):
        (gallery.folder / "Broken.jpg").write_bytes(b"no photo")
        run = gallery.run("--engine", engine, "--workers", "2")
        assert run.code == 2, run.output + run.log
    by_processes, by_ray = galleries
    assert len(by_ray.faces()) == 6
    assert by_ray.faces() == by_processes.faces()
    assert by_ray.outcomes() == by_processes.outcomes()


def test_an_address_where_no_cluster_answers_is_said_in_a_sentence(
    tmp_path: Path, migrated_database: Database, postgres: EmbeddedPostgres
) -> None:
    gallery = IngestGallery.make(tmp_path, migrated_database, postgres, persons=1)
    run = gallery.run("--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert run.code == 1
    assert "No Ray cluster answers" in run.output
    assert "Traceback" not in run.output
