"""The cutover as an operator does it: on evidence, with a file that is kept, and a way back that loses nobody."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.adapters.pkl.journal import PklJournal
from app.domain import FaceBox, GalleryFace, Match
from app.gallery_change import GalleryChange
from app.services.parity.records import ComparisonRecord, FaceComparison, Verdict
from scripts.cutover import main
from tests.integration.galleries import make_up
from tests.integration.gallery_host import GalleryHost

DOMAIN = "serbia"
FACES = list(make_up([3] * 20).faces)
SECRET = "DATABASE_PASSWORD_OF_SOMEBODY"
BEFORE = f"""# the service
PARITY_KEY={SECRET}

#VECTOR_DB_ENABLED=false
VECTOR_DB_ENABLED=true
VECTOR_DB_DUAL_MODE=true   # both galleries
"""

Write = Callable[[str], Path]


@pytest.fixture
def env_file(host: GalleryHost, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the environment file of a host whose environment says nothing of the mode."""
    monkeypatch.delenv("VECTOR_DB_ENABLED")
    monkeypatch.setenv("PARITY_MIN_COMPARISONS", "50")

    def write(text: str) -> Path:
        path = host.folder / ".env"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def add(host: GalleryHost, faces: list[GalleryFace]) -> None:
    container = host.container()
    container.vector_db.add_faces(DOMAIN, faces)
    container.close()


def equal_galleries(host: GalleryHost) -> None:
    host.write_pkl(DOMAIN, FACES)
    add(host, FACES)


def evidence(host: GalleryHost, count: int = 100, domain: str = DOMAIN) -> None:
    """So many comparisons that agree, spread over thirty hours."""
    match = (Match("Ana", "Ana/1.jpg", 0.1, 90.0),)
    face = FaceComparison(FaceBox(1, 2, 30, 40), match, match, differs=False)
    end = datetime.now(UTC)
    container = host.container()
    records = [
        ComparisonRecord(
            record_id=str(uuid.uuid4()),
            request_id=f"r{i}",
            at=end - timedelta(hours=30) * i / count,
            domain=domain,
            spec_key=container.engine.spec.key,
            source="live",
            answered_by="pkl",
            faces=(face,),
            pkl_ms=500.0,
            pgvector_ms=17.0,
            verdict=Verdict.AGREE,
        )
        for i in range(count + 1)
    ]
    container.parity_store.write(records)
    container.close()


def kept_files(host: GalleryHost) -> list[Path]:
    return sorted(host.folder.glob(".env.*.bak"))


def in_pkl(host: GalleryHost, face: GalleryFace) -> str | None:
    """Whom the PKL, as the service searches it, finds for this face."""
    container = host.container()
    try:
        (matches,) = container.recognition_service.search(DOMAIN, face.embedding[None].astype(float))
    finally:
        container.close()
    return matches[0].person if matches else None


def test_without_evidence_it_is_refused_with_the_reasons_and_nothing_changes(
    host: GalleryHost, env_file: Write
) -> None:
    path = env_file(BEFORE)
    equal_galleries(host)
    code, printed = host.run(main, "to-pgvector")
    assert (code, path.read_text(), kept_files(host)) == (1, BEFORE, [])
    assert "0 comparisons; 50 are wanted, 50 more." in printed
    assert "--force" in printed


def test_on_evidence_the_mode_is_changed_and_nothing_else_and_the_old_file_is_kept(
    host: GalleryHost, env_file: Write
) -> None:
    path = env_file(BEFORE)
    equal_galleries(host)
    evidence(host)
    assert "Every gate is passed" in host.run(main, "status")[1]
    code, printed = host.run(main, "to-pgvector")
    assert code == 0
    assert path.read_text() == BEFORE.replace("DUAL_MODE=true ", "DUAL_MODE=false ")
    (kept,) = kept_files(host)
    assert (kept.read_text(), kept.name in printed) == (BEFORE, True)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (path, kept)] == [0o600, 0o600]
    assert "systemctl reload facerecweb" in printed
    assert SECRET not in printed


def test_doing_it_again_changes_nothing(host: GalleryHost, env_file: Write) -> None:
    env_file(BEFORE)
    equal_galleries(host)
    assert host.run(main, "to-pgvector", "--force")[0] == 0
    code, printed = host.run(main, "to-pgvector")
    assert (code, len(kept_files(host))) == (0, 1)
    assert "says so already" in printed


def test_the_pkl_can_stay_as_a_shadow(host: GalleryHost, env_file: Write) -> None:
    path = env_file(BEFORE)
    equal_galleries(host)
    code, printed = host.run(main, "to-pgvector", "--reverse-shadow", "--force")
    assert (code, path.read_text()) == (0, BEFORE + "VECTOR_DB_PRIMARY=pgvector\n")
    assert "pgvector answers, the PKL shadows" in printed


def test_a_domain_that_the_database_lacks_or_nobody_asked_for_stands_against_it(
    host: GalleryHost, env_file: Write
) -> None:
    env_file(BEFORE)
    equal_galleries(host)
    evidence(host, domain="slovenia")
    host.write_pkl("kosovo", FACES)
    code, printed = host.run(main, "to-pgvector")
    assert code == 1
    assert "The database has no domain kosovo" in printed
    assert "serbia: none of its requests was compared." in printed


def test_a_setting_of_the_shell_that_wins_over_the_file_is_said(
    host: GalleryHost, env_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = env_file(BEFORE)
    equal_galleries(host)
    monkeypatch.setenv("VECTOR_DB_DUAL_MODE", "true")
    code, printed = host.run(main, "to-pgvector", "--force")
    assert (code, path.read_text(), kept_files(host)) == (1, BEFORE, [])
    assert "unset VECTOR_DB_ENABLED, VECTOR_DB_DUAL_MODE" in printed


AFTER = BEFORE.replace("DUAL_MODE=true ", "DUAL_MODE=false ")


def test_a_rollback_writes_into_the_pkl_whom_it_lacks_and_loses_nobody_of_its_own(
    host: GalleryHost, env_file: Write
) -> None:
    path = env_file(AFTER)
    host.write_pkl(DOMAIN, FACES[:50])
    changed = replace(FACES[10], embedding=FACES[10].embedding[::-1].copy())
    add(host, [changed, *FACES[11:]])
    assert in_pkl(host, FACES[57]) is None
    code, printed = host.run(main, "rollback")
    assert code == 0
    assert "10 faces added, 1 corrected, 10 of its own kept" in printed
    assert path.read_text() == BEFORE + "VECTOR_DB_PRIMARY=pkl\n"
    for face in (FACES[0], changed, FACES[57]):
        assert in_pkl(host, face) == face.person
    assert len(list((host.folder / "galleries" / DOMAIN).glob("*.bak"))) == 1


def test_a_rollback_makes_a_pkl_where_there_is_none(host: GalleryHost, env_file: Write) -> None:
    env_file(AFTER)
    add(host, FACES)
    assert host.run(main, "rollback")[0] == 0
    assert in_pkl(host, FACES[7]) == FACES[7].person


def test_a_rollback_of_equal_galleries_leaves_the_pkl_as_it_is(host: GalleryHost, env_file: Write) -> None:
    env_file(AFTER)
    equal_galleries(host)
    (pkl,) = (host.folder / "galleries" / DOMAIN).glob("*.pkl")
    before = pkl.stat().st_ino
    assert host.run(main, "rollback")[0] == 0
    assert pkl.stat().st_ino == before
    code, printed = host.run(main, "rollback")
    assert (code, "nothing to go back from" in printed) == (0, True)


def test_a_rollback_that_cannot_be_proven_is_refused_and_the_mode_stays(host: GalleryHost, env_file: Write) -> None:
    path = env_file(AFTER)
    host.write_pkl(DOMAIN, FACES[:50])
    add(host, FACES)
    # A photo that was removed, and then loaded into the database again.
    journal = PklJournal(host.folder / "galleries" / DOMAIN / ".journal.sqlite")
    hides = GalleryChange(DOMAIN, removed=(FACES[55].image,))
    journal.stage(hides)
    journal.activate(hides.id)
    journal.finish(hides.id)
    code, printed = host.run(main, "rollback")
    assert (code, path.read_text()) == (1, AFTER)
    assert "still lacks faces of the database (1)" in printed
    assert host.run(main, "rollback", "--force")[0] == 0
    assert path.read_text() != AFTER


def test_without_the_database_only_the_pkl_can_answer_and_only_if_that_is_insisted_on(
    host: GalleryHost, env_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = env_file(AFTER)
    host.write_pkl(DOMAIN, FACES)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, printed = host.run(main, "rollback")
    assert (code, path.read_text()) == (1, AFTER)
    assert "cannot be proven" in printed
    code, printed = host.run(main, "rollback", "--force")
    assert (code, "the PKL answers alone" in printed) == (0, True)
    assert "\nVECTOR_DB_ENABLED=false\n" in path.read_text()


def test_whom_a_forced_rollback_left_behind_is_brought_home_once_the_database_is_back(
    host: GalleryHost, env_file: Write
) -> None:
    path = env_file(AFTER.replace("VECTOR_DB_ENABLED=true\n", "VECTOR_DB_ENABLED=false\n"))
    host.write_pkl(DOMAIN, FACES[:50])
    add(host, FACES)
    code, printed = host.run(main, "rollback")
    assert (code, "--everybody" in printed) == (0, True)
    assert in_pkl(host, FACES[57]) is None
    before = path.read_text()
    code, printed = host.run(main, "rollback", "--everybody")
    assert (code, "10 faces added" in printed) == (0, True)
    assert in_pkl(host, FACES[57]) == FACES[57].person
    assert path.read_text() == before


def test_a_missing_file_and_a_missing_token_are_said_in_a_sentence(host: GalleryHost, env_file: Write) -> None:
    env_file(AFTER)
    add(host, FACES)
    for command in ("status", "to-pgvector", "rollback"):
        code, printed = host.run(main, command, "--env-file", "/nowhere/facerecweb.env")
        assert (code, "There is no file /nowhere/facerecweb.env" in printed) == (1, True)
    code, printed = host.run(main, "status", "--verify", "http://127.0.0.1:1", "--token-file", "/nowhere/token")
    assert (code, "holds no token" in printed) == (1, True)
