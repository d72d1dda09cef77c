"""The gates open on evidence, and neither luck nor one bad sign in a few comparisons decides."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest
from app.services.parity.figures import FigureQuery, Figures, Latency, Rate, Tally
from app.services.parity.gates import GateLimits
from app.services.parity.report import parse_since, report_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
FASTER = {"pkl": Latency(9, 500, 600, 700), "pgvector": Latency(9, 17, 25, 40)}


def figures(compared: int = 2000, matches: int = 1990, hours: float = 30.0, failed: int = 0, **more: Any) -> Figures:
    tally = Tally(compared + failed, compared, matches, 5 * matches, 5 * compared, 0, 0, compared + failed, failed)
    chosen: dict[str, Any] = {"query": FigureQuery()} | FASTER | more
    first = NOW - timedelta(hours=hours)
    return Figures(first=first, last=NOW, by_domain={"serbia": tally}, by_time={first: tally}, **chosen)


def verdict(limits: GateLimits | None = None, **facts: Any) -> tuple[str, dict[str, str]]:
    """The verdict, and the gates that are not passed with their messages."""
    report = report_of(figures(**facts), limits or GateLimits())
    return report["verdict"], {g["name"]: g["message"] for g in report["gates"] if not g["passed"]}


def test_with_enough_good_comparisons_over_a_day_it_is_ready() -> None:
    assert verdict() == ("ready", {})


def test_too_few_comparisons_are_not_enough_and_it_says_how_many_are_missing() -> None:
    said, open_gates = verdict(compared=990, matches=990)
    assert said == "not enough evidence"
    assert open_gates == {"comparisons": "990 comparisons; 1,000 are wanted, 10 more."}


def test_too_short_a_time_is_not_enough_and_it_says_how_much_is_missing() -> None:
    said, open_gates = verdict(hours=20.5)
    assert said == "not enough evidence"
    assert "3.5 h more" in open_gates["hours"]


def test_a_day_less_a_minute_counts_as_a_day_as_it_is_shown() -> None:
    assert verdict(hours=23.98)[0] == "ready"


def test_comparisons_that_were_lost_count_as_failures_because_the_database_was_away() -> None:
    assert verdict(lost=1)[0] == "ready"
    said, open_gates = verdict(lost=500)
    assert said == "not ready"
    assert "the comparison was lost (500), of 2,500 requests" in open_gates["candidate_errors"]


def test_a_match_rate_under_the_gate_is_not_ready() -> None:
    said, open_gates = verdict(matches=1800)
    assert said == "not ready"
    assert "90.00 %" in open_gates["match_rate"]


def test_a_rate_over_the_gate_whose_interval_reaches_below_wants_more_comparisons_and_says_how_many() -> None:
    said, open_gates = verdict(compared=1000, matches=957)
    assert said == "not enough evidence"
    more = int(open_gates["match_rate"].split("takes ")[1].split(" ")[0].replace(",", ""))
    assert Rate(round(0.957 * (1000 + more)), 1000 + more).low > 0.95
    assert Rate(round(0.957 * (1000 + more // 2)), 1000 + more // 2).low <= 0.95


def test_a_few_bad_comparisons_close_the_gate_only_when_luck_cannot_explain_them() -> None:
    assert verdict(compared=20, matches=18)[0] == "not enough evidence"
    assert verdict(compared=20, matches=5)[0] == "not ready"


def test_one_unexplained_difference_is_not_ready_however_few_comparisons_there_are() -> None:
    said, open_gates = verdict(compared=50, matches=49, causes=Counter(unexplained=1))
    assert said == "not ready"
    assert open_gates["unexplained"].startswith("1 difference is without an explanation")


def test_differences_that_nobody_looked_into_are_missing_evidence() -> None:
    said, open_gates = verdict(causes=Counter(pending=3), unseen=3)
    assert (said, list(open_gates)) == ("not enough evidence", ["examined"])
    assert verdict(causes=Counter(pending=3), unseen=0)[0] == "ready", "a person has looked into them"


@pytest.mark.parametrize(("failed", "expected"), [(1, "ready"), (2, "not ready")])
def test_one_request_in_a_thousand_without_an_answer_is_too_many(failed: int, expected: str) -> None:
    assert verdict(compared=2000 - failed, matches=1990, failed=failed)[0] == expected


def test_failures_of_the_pkl_in_reverse_shadow_do_not_count_against_pgvector() -> None:
    reverse = Tally(2000, 1990, 1985, 1, 1, 0, 0, asked=0, failed=0)
    report = report_of(
        Figures(FigureQuery(), NOW - timedelta(days=2), NOW, by_domain={"serbia": reverse}, **FASTER), GateLimits()
    )
    assert report["verdict"] == "ready"


def test_a_candidate_that_is_slower_is_not_ready() -> None:
    said, open_gates = verdict(pgvector=FASTER["pkl"], pkl=FASTER["pgvector"])
    assert (said, list(open_gates)) == ("not ready", ["latency"])


def test_without_a_comparison_nothing_is_known_and_nothing_fails() -> None:
    report = report_of(Figures(FigureQuery()), GateLimits())
    assert report["verdict"] == "not enough evidence"
    assert (report["top1"]["rate"], report["top5"]["rate"], report["series"], report["first"]) == (None, None, [], None)
    assert {g["state"] for g in report["gates"]} == {"undecided", "passed"}


def test_a_replay_needs_no_day() -> None:
    query = FigureQuery("serbia", source="replay", run="press")
    report = report_of(figures(hours=0.1, query=query), GateLimits())
    assert (report["verdict"], report["source"], report["run"]) == ("ready", "replay", "press")
    assert "hours" not in [gate["name"] for gate in report["gates"]]


def test_the_gates_are_where_the_settings_put_them() -> None:
    lax = GateLimits(10, 1.0, 0.5, 5, 0.5)
    assert verdict(lax, compared=100, matches=80, hours=2, causes=Counter(unexplained=5), failed=20) == ("ready", {})


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # R's prop.test(hits, of, correct=FALSE)
    [(8, 10, 0.4901625, 0.9433178), (95, 100, 0.8882495, 0.9784560), (10, 10, 0.7224672, 1.0), (0, 0, 0.0, 1.0)],
)
def test_the_interval_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert (Rate(hits, of).low, Rate(hits, of).high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_percentiles_of_counted_times_are_those_of_the_times() -> None:
    times = np.round(np.random.default_rng(1).gamma(2.0, 10.0, 5001), 2)
    found = Latency.of(Counter(times.tolist()).items())
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx(np.percentile(times, [50, 95, 99]), abs=0.006)
    assert (found.measured, Latency.of([]), Latency.of([(7.5, 1)]).p99_ms) == (5001, Latency(), 7.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOW - timedelta(hours=24)),
        (" 7d ", NOW - timedelta(days=7)),
        ("90m", NOW - timedelta(minutes=90)),
        ("2026-11-19", datetime(2026, 11, 19, tzinfo=UTC)),
        ("2026-11-19T10:00+01:00", datetime(2026, 11, 19, 9, tzinfo=UTC)),
    ],
)
def test_since_is_a_time_or_how_long_ago(text: str, expected: datetime) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "-3h", "24 parsecs", "99999d999", "99999999d", "2026-13-01"])
def test_what_is_no_time_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadRequest, match="how long ago"):
        parse_since(text, NOW)
