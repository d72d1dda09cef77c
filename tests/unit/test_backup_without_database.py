"""An installation that has only PKLs is saved and restored all the same."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from app.adapters.pg_tools import PgTools
from app.errors import BadRequest
from app.services.backup.backup_files import Places
from app.services.backup.backup_folder import BackupFolder, Retention
from app.services.backup.backup_service import BackupService, Source
from app.services.backup.restore_service import RestoreOptions, RestoreService

PKL = "ds_model_dlib_detector_dlib_aligned_normalization_base_expand_0.pkl"
NO_TOOLS = PgTools([])


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "galleries" / "serbia").mkdir(parents=True)
    (tmp_path / "galleries" / "serbia" / PKL).write_bytes(b"pickled")
    return Places(tmp_path / "galleries", tmp_path / "tokens.json")


@pytest.fixture
def backup(places: Places, tmp_path: Path) -> Path:
    service = BackupService(None, NO_TOOLS, Source(places, "test", lambda _domain: nullcontext()))
    return service.make(BackupFolder(tmp_path / "backups"), photos=False, retention=Retention()).path


def restore_service(places: Places) -> RestoreService:
    return RestoreService(NO_TOOLS, places, unexpected)


def unexpected(*_: object) -> NoReturn:
    raise AssertionError("there is no database to open or to compare with")


def test_the_pkl_comes_back(places: Places, backup: Path) -> None:
    (places.galleries / "serbia" / PKL).unlink()
    report = restore_service(places).restore(backup, unexpected, RestoreOptions(galleries=True))
    assert report.passed
    assert (places.galleries / "serbia" / PKL).read_bytes() == b"pickled"


@pytest.mark.parametrize("missing", [RestoreOptions(photos=True), RestoreOptions(tokens=True)])
def test_what_a_backup_does_not_hold_cannot_be_asked_of_it(
    places: Places, backup: Path, missing: RestoreOptions
) -> None:
    with pytest.raises(BadRequest):
        restore_service(places).restore(backup, unexpected, missing)


def test_a_domain_whose_persons_are_being_changed_is_waited_for(places: Places, tmp_path: Path) -> None:
    asked: list[str] = []

    def writing(domain: str) -> nullcontext[None]:
        asked.append(domain)
        return nullcontext()

    service = BackupService(None, NO_TOOLS, Source(places, "test", writing))
    service.make(BackupFolder(tmp_path / "backups"), photos=False, retention=Retention())
    assert asked == ["serbia"]
