"""A request in dual mode leaves a row that has its request id, and the health report says how that goes."""

from __future__ import annotations

from typing import Any

from app.bootstrap import Container
from app.services.parity.records import ComparisonQuery, StoredComparison, Verdict
from config import Settings
from scripts import demo_faces
from tests.e2e.conftest import Service, settings_of
from tests.e2e.test_recognize import eventually


def rows_of(dual: Service, request_id: str) -> list[StoredComparison]:
    container = Container(Settings(**settings_of(dual.storage), vector_db_enabled=True))
    try:
        found = container.parity_store.comparisons(ComparisonQuery(verdicts=list(Verdict)))
    finally:
        container.close()
    return [row for row in found if row.request_id == request_id]


def test_answer_log_and_row_have_one_request_id(dual: Service) -> None:
    photo = demo_faces.several_faces()[0]
    response = dual.recognize(photo, headers={"X-Request-ID": "parity-1"})
    answer: dict[str, Any] = response.json()
    assert response.headers["X-Request-ID"] == "parity-1"
    eventually(lambda: len(rows_of(dual, "parity-1")) == 1)
    (row,) = rows_of(dual, "parity-1")
    assert (row.domain, row.source, row.verdict, row.faces) == (
        "demo",
        "live",
        "agree",
        len(answer["recognized_faces"]),
    )
    assert (row.pkl_top1, row.pgvector_top1) == (
        answer["comparison"]["pkl_top1"],
        answer["comparison"]["pgvector_top1"],
    )
    assert any('"DUAL-MODE comparison"' in line and "parity-1" in line for line in dual.log().splitlines())


def test_the_health_report_says_how_comparisons_are_kept(dual: Service) -> None:
    headers = {"Authorization": dual.tokens["viewer"]}
    parity = dual.session.get(f"{dual.address}/api/v1/health", headers=headers, timeout=30).json()["services"]["parity"]
    assert (parity["status"], parity["lost"], parity["problem"]) == ("ok", 0, None)
