"""A change of the environment file changes its variables and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.errors import Conflict, NotFound, StartupError
from app.services.cutover.environment_file import EnvironmentFile
from app.services.cutover.mode_switch import VARIABLES, Standing, reload_command, switch

TEXT = """# Settings
DATABASE_URL="postgresql://facerec:p#ss=w0rd@db/facerec"

#VECTOR_DB_ENABLED=false
export VECTOR_DB_ENABLED=true  # since March
#VECTOR_DB_DUAL_MODE=true
PARITY_KEY='abc'
"""


def written(tmp_path: Path, text: str = TEXT) -> EnvironmentFile:
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    return EnvironmentFile(path)


def kept_files(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob(".env.*.bak"))


def test_a_value_is_replaced_where_it_stands_and_a_new_one_stands_below_its_description(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.set({"VECTOR_DB_ENABLED": "false", "VECTOR_DB_DUAL_MODE": "false", "VECTOR_DB_PRIMARY": "pkl"})
    assert file.path.read_text() == TEXT.replace("=true  # since", "=false  # since").replace(
        "#VECTOR_DB_DUAL_MODE=true\n", "#VECTOR_DB_DUAL_MODE=true\nVECTOR_DB_DUAL_MODE=false\n"
    ) + ("VECTOR_DB_PRIMARY=pkl\n")


def test_the_file_as_it_was_is_kept_beside_it_and_can_be_put_back(tmp_path: Path) -> None:
    file = written(tmp_path)
    kept = file.set({"VECTOR_DB_ENABLED": "false"})
    assert kept is not None
    assert kept_files(tmp_path) == [kept]
    assert kept.read_text() == TEXT
    file.restore(kept)
    assert (file.path.read_text(), kept_files(tmp_path)) == (TEXT, [])


def test_setting_what_is_set_changes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path)
    before = file.path.stat()
    assert file.set({"VECTOR_DB_ENABLED": "true"}) is None
    assert (file.path.stat().st_ino, kept_files(tmp_path)) == (before.st_ino, [])


def test_permissions_owner_line_ends_and_strange_bytes_stay(tmp_path: Path) -> None:
    path = tmp_path / "facerecweb.env"
    path.write_bytes(b"NOTE=caf\xe9\r\nVECTOR_DB_ENABLED=true\r\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    kept = EnvironmentFile(path).set({"VECTOR_DB_ENABLED": "false"})
    assert path.read_bytes() == b"NOTE=caf\xe9\r\nVECTOR_DB_ENABLED=false\r\n"
    after = path.stat()
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (0o640, before.st_uid, before.st_gid)
    assert kept is not None
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640, "what is kept holds the same secrets"


def test_a_link_leads_to_the_file_that_is_changed(tmp_path: Path) -> None:
    file = written(tmp_path)
    link = tmp_path / "link.env"
    link.symlink_to(file.path)
    EnvironmentFile(link).set({"VECTOR_DB_ENABLED": "false"})
    assert link.is_symlink()
    assert "VECTOR_DB_ENABLED=false" in file.path.read_text()


def test_every_spelling_of_the_name_is_set_because_the_service_reads_them_all(tmp_path: Path) -> None:
    file = written(tmp_path, "vector_db_enabled=true\nVECTOR_DB_ENABLED='true'\n")
    file.set({"VECTOR_DB_ENABLED": "false"})
    assert file.path.read_text() == "vector_db_enabled=false\nVECTOR_DB_ENABLED=false\n"


def test_a_line_within_another_value_is_not_taken_for_a_variable(tmp_path: Path) -> None:
    text = 'NOTE="two lines\nVECTOR_DB_ENABLED=true\n"\n'
    file = written(tmp_path, text)
    with pytest.raises(Conflict, match="by hand"):
        file.set({"VECTOR_DB_ENABLED": "false"})
    assert file.path.read_text() == text


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--env-file"):
        EnvironmentFile(tmp_path / "none").set({"A": "b"})


def test_a_switch_that_the_environment_overrules_is_taken_back(tmp_path: Path) -> None:
    file = written(tmp_path)
    with pytest.raises(Conflict, match="environment wins"):
        switch(file, Standing.PGVECTOR, lambda: Standing.DUAL)
    assert (file.path.read_text(), kept_files(tmp_path)) == (TEXT, [])


def test_a_switch_to_settings_that_no_service_could_start_with_is_taken_back(tmp_path: Path) -> None:
    file = written(tmp_path)

    def unreadable() -> Standing:
        raise StartupError("Correct the settings.")

    with pytest.raises(StartupError):
        switch(file, Standing.PGVECTOR, unreadable)
    assert (file.path.read_text(), kept_files(tmp_path)) == (TEXT, [])


@pytest.mark.parametrize("wanted", Standing)
def test_every_standing_can_be_written(tmp_path: Path, wanted: Standing) -> None:
    file = written(tmp_path)
    switch(file, wanted, lambda: wanted)
    lines = file.path.read_text().replace("export ", "").replace("  # since March", "").splitlines()
    assert {f"{name}={value}" for name, value in VARIABLES[wanted].items()} <= set(lines)


def test_a_reload_reads_dotenv_again_and_a_units_environment_wants_a_restart(tmp_path: Path) -> None:
    assert reload_command(EnvironmentFile(tmp_path / ".env")) == "systemctl reload facerecweb"
    assert reload_command(EnvironmentFile(tmp_path / "facerecweb.env")) == "systemctl restart facerecweb"
