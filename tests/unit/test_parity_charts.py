"""The plots say what the figures say, are well-formed, and let no text of a name become markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services.parity import svg
from app.services.parity.charts import causes_chart, latency_chart
from app.services.parity.figures import FigureQuery, Figures, Latency, Tally
from app.services.parity.gates import GateLimits
from app.services.parity.html_report import html_report
from app.services.parity.match_rate_chart import match_rate_chart
from app.services.parity.report import report_of

START = datetime(2026, 11, 18, 9, tzinfo=UTC)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def report(hours: dict[int, tuple[int, int]], domain: str = "serbia", **more: Any) -> dict[str, Any]:
    """Of so many comparisons and matches in each hour after `START`."""
    by_time = {START + timedelta(hours=h): Tally(n, n, m, 5 * m, 5 * n, 1, 2, n, 0) for h, (n, m) in hours.items()}
    last = START + timedelta(hours=max(hours, default=0))
    figures = Figures(
        FigureQuery(domain), START, last, "hour", {domain: Tally.total(by_time.values())}, by_time, **more
    )
    return report_of(figures, GateLimits())


def elements(drawing: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(drawing).iter(NAMESPACE + name))  # noqa: S314


def words(drawing: str) -> list[str]:
    return [found.text or "" for found in elements(drawing, "text")]


def test_every_hour_has_a_point_with_its_figures_and_an_axis_that_reaches_the_gate() -> None:
    drawing = match_rate_chart(report({0: (100, 99), 1: (100, 100), 2: (50, 48)})["series"], 0.95)
    points = elements(drawing, "circle")
    assert len(points) == 3
    assert points[0][0].text == "18 Nov 09:00 UTC: 99 %, 94.55 % to 99.82 %, of 100"
    assert {"100 %", "90 %", "UTC", "gate 95 %"} <= set(words(drawing))


def test_better_is_higher_and_the_band_lies_around_the_line() -> None:
    drawing = match_rate_chart(report({0: (1000, 960), 1: (1000, 990)})["series"], 0.95)
    first, second = (float(point.get("cy", "")) for point in elements(drawing, "circle"))
    assert second < first
    band = elements(drawing, "path")[0].get("d", "").strip("MZ").split("L")
    ys = [float(corner.split(",")[1]) for corner in band]
    assert ys[0] < first < ys[-1]


def test_hours_without_a_comparison_interrupt_the_line() -> None:
    drawing = match_rate_chart(report({0: (100, 99), 1: (100, 99), 9: (100, 99)})["series"], 0.95)
    assert len(elements(drawing, "path")) == 4, "two bands and two lines"


@pytest.mark.parametrize("hours", [{}, {0: (0, 0)}])
def test_without_a_comparison_the_plot_says_so(hours: dict[int, tuple[int, int]]) -> None:
    assert words(match_rate_chart(report(hours)["series"], 0.95)) == ["Nothing was compared yet."]


def test_causes_stand_most_serious_first_with_count_and_share() -> None:
    drawing = causes_chart(report({}, causes=Counter(tie=3, unexplained=1))["causes"])
    said = words(drawing)
    assert said.index("unexplained") < said.index("tie")
    assert {"1", "25.0 %", "3", "75.0 %"} <= set(said)
    widths = [float(bar.get("width", "")) for bar in elements(drawing, "rect")]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.01)


def test_both_galleries_have_a_bar_for_each_percentile_on_an_axis_in_milliseconds() -> None:
    times = report({}, pkl=Latency(9, 500, 600, 700), pgvector=Latency(9, 17, 25, 40))["latency"]
    drawing = latency_chart(times)
    assert {"500.0 ms", "600.0 ms", "700.0 ms", "17.0 ms", "25.0 ms", "40.0 ms", "milliseconds"} <= set(words(drawing))
    assert words(latency_chart(report({})["latency"])) == ["No times were measured yet."]


def test_ticks_are_round_and_reach_the_highest_value() -> None:
    assert svg.ticks(742) == [0, 200, 400, 600, 800]
    assert svg.ticks(0.03)[-1] >= 0.03
    assert svg.ticks(0) == [0, 1]


def test_text_is_escaped_wherever_it_stands() -> None:
    assert "<script" not in svg.text(0, 0, "<script>") + svg.hover("<script>") + svg.drawing(1, 1, '"<script>', [])


def test_the_page_stands_by_itself_and_says_the_verdict_with_its_reasons() -> None:
    page = html_report(report({0: (2000, 1500)}, domain="<b>", causes=Counter(unexplained=2), judged=Counter(pkl=4)))
    assert "not ready" in page
    assert "2 differences are without an explanation" in page
    assert "<b>" not in page, "a domain's name became markup"
    assert "4 differences looked at by a person" in page
    for other in ("<script", "<link", "http://", "https://", "url("):
        assert other not in page.replace('xmlns="http://www.w3.org/2000/svg"', ""), "the page needs something else"


def test_the_page_can_be_made_of_nothing() -> None:
    assert "not enough evidence" in html_report(report({}))
