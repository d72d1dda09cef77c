"""The evidence over HTTP and by the commands: seen, judged, replayed from photos, and probed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from app.bootstrap import Container
from app.domain import FaceBox, Match
from app.services.parity.records import Cause, ComparisonRecord, FaceComparison, Verdict
from config import Settings
from scripts import cutover, demo_faces, parity_report, replay_parity
from scripts.service_probe import Probe
from tests.e2e.conftest import DUAL, Service, _environment, settings_of
from tests.e2e.test_recognize import eventually

RUN_PHOTOS = 4


@pytest.fixture
def container(dual: Service) -> Iterator[Container]:
    """Over the service's storage and database."""
    opened = Container(Settings(**settings_of(dual.storage), vector_db_enabled=True))
    yield opened
    opened.close()


def ask(service: Service, path: str, token: str = "viewer", **more: Any) -> requests.Response:
    method = more.pop("method", "GET")
    headers = {"Authorization": service.tokens[token]}
    return service.session.request(method, f"{service.address}{path}", headers=headers, timeout=30, **more)


def differing(container: Container, domain: str = "demo", spec_key: str | None = None) -> ComparisonRecord:
    """A comparison in which pgvector lacked somebody."""
    match = (Match("Person 001", "Person 001/1.png", 0.01, 99.0),)
    return ComparisonRecord(
        record_id=str(uuid.uuid4()),
        request_id="planted",
        at=datetime.now(UTC),
        domain=domain,
        spec_key=spec_key or container.engine.spec.key,
        source="live",
        answered_by="pkl",
        faces=(FaceComparison(FaceBox(1, 2, 30, 40), match, (), differs=True),),
        pkl_ms=5.0,
        pgvector_ms=2.0,
        verdict=Verdict.DIFFER,
        cause=Cause.GALLERY_DRIFT,
    )


def test_live_requests_are_in_the_report(dual: Service) -> None:
    before = ask(dual, "/parity/report").json()["report"]["top1"]["compared"]
    for number in range(3):
        assert dual.recognize(demo_faces.known_probe(number)[0]).ok
    eventually(lambda: ask(dual, "/parity/report").json()["report"]["top1"]["compared"] == before + 3)
    report = ask(dual, "/parity/report?since=1h&domain=demo").json()["report"]
    keys = {"verdict", "gates", "top1", "top5", "flips", "causes", "latency", "domains", "series", "judged", "lost"}
    assert keys | {"since", "until"} <= set(report)
    assert report["domain"] == "demo"
    assert ask(dual, "/parity/report?source=replay").json()["report"]["source"] == "replay"


def test_a_token_for_all_domains_gets_the_report_of_all(dual: Service) -> None:
    report = ask(dual, "/parity/report", "all").json()["report"]
    assert (report["domain"], "demo" in {domain["domain"] for domain in report["domains"]}) == (None, True)


def test_a_difference_is_found_read_and_judged_and_the_report_counts_it(dual: Service, container: Container) -> None:
    container.parity_store.write([differing(container), differing(container, "serbia")])
    listed = ask(dual, "/parity/comparisons?cause=gallery_drift&judged=false&since=1h").json()["comparisons"]
    ids = [row["id"] for row in listed if row["request_id"] == "planted"]
    assert {row["domain"] for row in listed} == {"demo"}
    shown = ask(dual, f"/parity/comparisons/{ids[0]}").json()["comparison"]
    assert (shown["pkl_top1"], shown["pgvector_top1"], shown["known_flip"]) == ("Person 001", None, "lost")

    path = f"/parity/comparisons/{ids[0]}/judgement"
    for token in ("viewer", "enrol"):  # judging wants both roles
        refused = ask(dual, path, token, method="POST", json={"judged": "pkl"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "role_missing")
    judged = ask(dual, path, "judge", method="POST", json={"judged": "pkl"})
    assert (judged.status_code, judged.json()["comparison"]["judged"]) == (200, "pkl")
    assert ask(dual, path, "judge", method="POST", data={"judged": "maybe"}).status_code == 400

    assert ask(dual, "/parity/report?since=1h").json()["report"]["judged"]["pkl"] == 1
    again = ask(dual, "/parity/comparisons?judged=false").json()["comparisons"]
    assert ids[0] not in [row["id"] for row in again]


def test_what_another_pipeline_showed_is_no_evidence_for_this_one(dual: Service, container: Container) -> None:
    before = ask(dual, "/parity/report").json()["report"]["top1"]["compared"]
    container.parity_store.write([differing(container, spec_key="0" * 16), differing(container)])
    assert ask(dual, "/parity/report").json()["report"]["top1"]["compared"] == before + 1


def test_the_list_is_paged(dual: Service, container: Container) -> None:
    container.parity_store.write([differing(container) for _ in range(60)])
    first = ask(dual, "/parity/comparisons?verdict=differ").json()
    second = ask(dual, f"/parity/comparisons?verdict=differ&page={first['next_page']}").json()
    assert len(first["comparisons"]) == 50
    assert first["comparisons"][-1]["id"] > second["comparisons"][0]["id"]


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/parity/report", "demo", 403, "role_missing"),
        ("/parity/report?domain=serbia", "viewer", 403, "domain_not_allowed"),
        ("/parity/comparisons", "all", 400, "domain_required"),
        ("/parity/report", "wrong", 401, "token_unknown"),
        ("/parity/report?since=tomorrow", "viewer", 400, "invalid_since"),
        ("/parity/report?source=dreams", "viewer", 400, "invalid_source"),
        ("/parity/comparisons?cause=bad%20luck", "viewer", 400, "invalid_cause"),
        ("/parity/comparisons?judged=perhaps", "viewer", 400, "invalid_judged"),
        ("/parity/comparisons?verdict=none", "viewer", 400, "invalid_verdict"),
        ("/parity/comparisons?page=-1", "viewer", 400, "invalid_page"),
        ("/parity/comparisons?page=99999999999999999999999", "viewer", 400, "invalid_page"),
        ("/parity/comparisons/999999999", "viewer", 404, "comparison_unknown"),
        ("/parity/comparisons/99999999999999999999999", "viewer", 404, "comparison_unknown"),
    ],
)
def test_what_cannot_be_answered_is_said_in_the_envelope(
    dual: Service, path: str, token: str, status: int, code: str
) -> None:
    response = ask(dual, path, token)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_comparison_of_another_domain_is_not_there(dual: Service, container: Container) -> None:
    container.parity_store.write([differing(container, "serbia")])
    row = ask(dual, "/parity/comparisons?domain=serbia", "all").json()["comparisons"][0]
    assert ask(dual, f"/parity/comparisons/{row['id']}", "all").ok
    assert ask(dual, f"/parity/comparisons/{row['id']}").status_code == 404
    judgement = ask(dual, f"/parity/comparisons/{row['id']}/judgement", "judge", method="POST", json={"judged": "pkl"})
    assert judgement.status_code == 404


def test_a_probe_says_the_mode_of_the_running_service(dual: Service) -> None:
    probe = Probe(dual.address, dual.tokens["demo"], demo_faces.known_probe()[0])
    assert (probe.mode(), probe.wait_for("pgvector", 0.0)) == ("dual, pkl answers", "dual, pkl answers")


@pytest.fixture
def as_operator(dual: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, value in (_environment(dual.storage) | DUAL | {"COLUMNS": "200"}).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("as_operator")
def test_the_status_of_a_cutover_is_held_against_the_running_service(
    dual: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text(dual.tokens["demo"])
    (tmp_path / "service.env").write_text("VECTOR_DB_ENABLED=true\n")
    verify = ["--verify", dual.address, "--token-file", str(tmp_path / "token")]
    assert cutover.main(["status", "--env-file", str(tmp_path / "service.env"), *verify]) == 0
    printed = capsys.readouterr().out
    assert "the PKL answers, pgvector shadows (mode dual)." in printed
    assert "The service answers in mode dual, pkl answers." in printed


@pytest.mark.usefixtures("as_operator")
def test_photos_are_replayed_once_each_and_bad_ones_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "press photos"
    folder.mkdir()
    for number in range(RUN_PHOTOS):
        (folder / f"{number}.jpg").write_bytes(demo_faces.known_probe(number)[0])
    (folder / "copy.jpg").write_bytes(demo_faces.known_probe(0)[0])
    (folder / "broken.jpg").write_bytes(b"no photo")
    command = [str(folder), "--domain", "demo"]

    assert replay_parity.main(command) == 3
    printed = capsys.readouterr().out
    assert f"{RUN_PHOTOS} photos compared, 1 were before." in printed
    assert "not compared broken.jpg" in printed
    assert "not enough evidence" in printed
    assert replay_parity.main(command) == 3
    assert f"0 photos compared, {RUN_PHOTOS + 1} were before." in capsys.readouterr().out

    page = tmp_path / "report.html"
    assert parity_report.main(["--run", "press-photos", "--json", "--html", str(page)]) == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["requests"], report["run"], report["top1"]["matches"]) == (RUN_PHOTOS, "press-photos", RUN_PHOTOS)
    assert "<svg" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("as_operator")
def test_what_cannot_be_replayed_or_reported_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay_parity.main([str(tmp_path / "none"), "--domain", "demo"]) == 1
    assert "cannot be listed" in capsys.readouterr().err
    assert replay_parity.main([str(tmp_path), "--domain", "demo", "--run", "a_b"]) == 1
    assert "A run's name" in capsys.readouterr().err
    assert parity_report.main(["--since", "tomorrow"]) == 1
    assert parity_report.main(["--html", str(tmp_path / "none" / "report.html")]) == 1
    assert "cannot be written" in capsys.readouterr().err
