"""The command that tunes domains, as an operator calls it."""

from __future__ import annotations

import pytest

from scripts.test_vector_db import main as acceptance
from scripts.tune_search import main
from tests.integration.galleries import make_up
from tests.integration.gallery_host import GalleryHost


@pytest.fixture
def filled(host: GalleryHost) -> GalleryHost:
    container = host.container()
    container.vector_db.add_faces("serbia", make_up([3] * 60).faces)
    container.vector_db.add_faces("slovenia", make_up([2, 2]).faces)
    container.close()
    return host


def test_every_domain_is_tuned_and_what_was_tried_is_shown(filled: GalleryHost) -> None:
    code, printed = filled.run(main, "--probes", "30")
    assert code == 0
    assert "serbia: 180 faces of 60 persons" in printed
    assert "slovenia: 4 faces of 2 persons" in printed
    assert printed.count("chosen") == 2
    assert "So few probes cannot put the whole interval above 0.999" in printed


def test_a_dry_run_says_that_nothing_was_changed(filled: GalleryHost) -> None:
    code, printed = filled.run(main, "--domain", "serbia", "--probes", "10", "--dry-run")
    assert code == 0
    assert "Dry run" in printed
    container = filled.container()
    assert container.vector_db.plan_of("serbia", 0.07).plan_id == 0
    container.close()


def test_an_unknown_domain_fails_with_a_sentence(filled: GalleryHost) -> None:
    code, printed = filled.run(main, "--domain", "atlantis")
    assert code == 1
    assert "no faces of the spec in use" in printed
    assert "Traceback" not in printed


def test_targets_that_no_way_reaches_fail_and_the_best_way_is_kept(
    filled: GalleryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.search.tuning._WHOLE_MAX_MS", 0.0)
    monkeypatch.setattr("app.services.search.tuning.expected_template_distance", lambda *_: 0.0)
    code, printed = filled.run(main, "--domain", "serbia", "--probes", "30")
    assert code == 1
    assert "NOT reached" in printed
    container = filled.container()
    assert container.vector_db.plan_of("serbia", 0.07).plan_id
    container.close()


def test_the_acceptance_test_passes_on_a_tuned_database_without_an_index_over_images(filled: GalleryHost) -> None:
    assert filled.run(main, "--probes", "30")[0] == 0
    code, printed = filled.run(acceptance, "--probes", "20", "--max-p95-ms", "60000")
    assert code == 0, printed
    assert "none needed" in printed
