"""Settings are documented, validated, and keep their secrets."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.domain import Mode
from app.errors import StartupError
from config import Settings

ENV_EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def documented(pattern: str = "#?") -> dict[str, str]:
    return dict(re.findall(rf"^{pattern}([A-Z0-9_]+)=(.*)$", ENV_EXAMPLE.read_text(), flags=re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    assert set(documented()) == {name.upper() for name in Settings.model_fields}


def test_the_commented_values_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in documented("#").items():
        monkeypatch.setenv(name, value)
    assert Settings() == Settings.model_construct(
        **{n: f.get_default(call_default_factory=True) for n, f in Settings.model_fields.items()}
    )


def test_a_new_installation_gets_the_fast_pipeline_and_one_that_says_nothing_keeps_deepfaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings().face_pipeline == "deepface"

    for name, value in documented("").items():
        monkeypatch.setenv(name, value)
    assert Settings().face_pipeline == "fast"


@pytest.mark.parametrize(
    ("enabled", "dual", "mode"),
    [
        ("false", "true", Mode.PKL),
        ("false", "false", Mode.PKL),
        ("true", "true", Mode.DUAL),
        ("true", "false", Mode.PGVECTOR),
    ],
)
def test_the_mode_follows_the_contracts_table(
    monkeypatch: pytest.MonkeyPatch, enabled: str, dual: str, mode: Mode
) -> None:
    monkeypatch.setenv("VECTOR_DB_ENABLED", enabled)
    monkeypatch.setenv("VECTOR_DB_DUAL_MODE", dual)
    assert Settings().mode is mode


def test_a_wrong_value_names_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "70000")
    with pytest.raises(ValidationError, match="port"):
        Settings()


def test_wrong_settings_become_one_sentence_that_shows_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "70000")
    monkeypatch.setenv("FACE_ENGINE", "planted-secret")
    with pytest.raises(StartupError) as caught:
        Settings.load()
    assert "PORT" in caught.value.message
    assert "FACE_ENGINE" in caught.value.message
    assert "planted-secret" not in caught.value.message
    assert "\n" not in caught.value.message


def test_the_database_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:planted-secret@db/faces")
    assert "planted-secret" not in repr(Settings())


def test_pkl_files_are_read_by_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKL_FILES", "serbia=/data/s=1.pkl, slovenia=/data/b.pkl")
    assert Settings().pkl_files == {"serbia": Path("/data/s=1.pkl"), "slovenia": Path("/data/b.pkl")}


def test_a_candidate_limit_beyond_the_requests_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECTOR_DB_CANDIDATE_TIMEOUT_MS", "90000")
    with pytest.raises(ValidationError, match="VECTOR_DB_CANDIDATE_TIMEOUT_MS"):
        Settings()


def test_settings_survive_the_way_through_a_childs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        database_url="postgresql://app:secret@db/faces",  # type: ignore[arg-type]
        pkl_files={"serbia": Path("/data/s.pkl"), "slovenia": Path("/data/b.pkl")},
        cors_origins=("https://a.example", "https://b.example"),
        face_align=False,
        port=5007,
    )
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
