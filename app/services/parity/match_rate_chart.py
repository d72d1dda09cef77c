"""The plot of the match rate over time, with its confidence band and how much was compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from app.services.parity import svg
from app.services.parity.charts import PGVECTOR, WIDTH, legend

_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 748.0, 34.0, 236.0  # of the plot of the rate
_BARS_TOP, _BARS_BOTTOM = 258.0, 298.0
_FLOORS = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # where the axis of the rate may begin
_TICK_HOURS = (1, 2, 3, 6, 12, 24, 48, 168, 336, 720, 2160)
_MOST_TICKS = 8
_STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


def match_rate_chart(series: Sequence[Mapping[str, Any]], wanted: float, step: str = "hour") -> str:
    """The share of equal best persons over time.

    :param series: the report's `series`; :param step: its `step`, `hour` or `day`.
    :param wanted: the match rate that the gate wants.
    """
    plot = _Plot([moment for moment in series if moment["rate"] is not None], wanted, _STEPS[step])
    if not plot.moments:
        message = "Nothing was compared yet."
        return svg.drawing(WIDTH, 56, message, [svg.text(WIDTH / 2, 33, message, text_anchor="middle", font_size=13)])
    parts = [*plot.rate_axis(), *plot.time_axis(), *plot.bands(), *plot.gate(), *plot.points(), *plot.volumes()]
    names = [
        ("line", PGVECTOR, "match rate"),
        ("band", PGVECTOR, "95 % confidence"),
        ("dash", svg.WARN, f"gate {_percent(wanted)}"),
    ]
    parts += legend(names, x=_LEFT)
    lowest = min(moment["rate"] for moment in plot.moments)
    told = f"Top-1 match rate by {step}, lowest {_percent(lowest)}; the gate is {_percent(wanted)}"
    return svg.drawing(WIDTH, 334, told, parts)


@dataclass(frozen=True)
class _Plot:
    moments: list[Mapping[str, Any]]
    wanted: float
    step: timedelta

    @cached_property
    def times(self) -> list[datetime]:
        return [datetime.fromisoformat(moment["at"]).astimezone(UTC) for moment in self.moments]

    @cached_property
    def floor(self) -> float:
        """Where the axis begins: the rates and the gate lie above it; a band that reaches below is cut there."""
        lowest = min(self.wanted, *(moment["rate"] for moment in self.moments))
        return max(floor for floor in _FLOORS if floor < lowest or not floor)

    def x(self, at: datetime) -> float:
        """The middle of the step that begins then."""
        span = self.times[-1] - self.times[0] + self.step
        return _LEFT + (_RIGHT - _LEFT) * ((at - self.times[0] + self.step / 2) / span)

    def y(self, rate: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (max(rate, self.floor) - self.floor) / (1 - self.floor)

    def rate_axis(self) -> list[str]:
        parts = []
        for tick in range(6):
            rate = self.floor + (1 - self.floor) * tick / 5
            parts.append(svg.line((_LEFT, self.y(rate)), (_RIGHT, self.y(rate))))
            parts.append(svg.text(_LEFT - 8, self.y(rate) + 4, _percent(rate), text_anchor="end"))
        return parts

    def time_axis(self) -> list[str]:
        parts = [svg.text(_RIGHT, _BARS_BOTTOM + 32, "UTC", text_anchor="end", font_size=11)]
        for at in _ticks(self.times[0], self.times[-1]):
            x = self.x(at) - (self.x(at + self.step) - self.x(at)) / 2
            parts.append(svg.line((x, _BARS_BOTTOM), (x, _BARS_BOTTOM + 5), stroke=svg.MUTED))
            parts.append(svg.text(x, _BARS_BOTTOM + 18, _label(at), text_anchor="middle"))
        return parts

    def bands(self) -> list[str]:
        """The confidence bands and the line; where nothing was compared for a while, both are interrupted."""
        parts = []
        for run in self._runs():
            upper = [(self.x(self.times[i]), self.y(self.moments[i]["high"])) for i in run]
            lower = [(self.x(self.times[i]), self.y(self.moments[i]["low"])) for i in run]
            if len(run) == 1:
                upper, lower = _widened(upper), _widened(lower)
            outline = svg.path([*upper, *reversed(lower)], closed=True)
            parts.append(svg.element("path", d=outline, fill=PGVECTOR, fill_opacity="0.22"))
            middle = svg.path([(self.x(self.times[i]), self.y(self.moments[i]["rate"])) for i in run])
            parts.append(svg.element("path", d=middle, fill="none", stroke=PGVECTOR, stroke_width=2))
        return parts

    def gate(self) -> list[str]:
        y = self.y(self.wanted)
        return [svg.line((_LEFT, y), (_RIGHT, y), stroke=svg.WARN, stroke_width=1.5, stroke_dasharray="5 4")]

    def points(self) -> list[str]:
        radius = "3" if len(self.moments) <= 60 else "2"  # noqa: PLR2004 (points that touch hide the band)
        parts = []
        for at, moment in zip(self.times, self.moments, strict=True):
            place: dict[str, svg.Value] = {"cx": self.x(at), "cy": self.y(moment["rate"]), "r": radius}
            parts.append(svg.element("circle", svg.hover(_told(at, moment)), **place, fill=PGVECTOR))
        return parts

    def volumes(self) -> list[str]:
        """How many comparisons each rate stands on."""
        most = max(moment["compared"] for moment in self.moments)
        width = (_RIGHT - _LEFT) / ((self.times[-1] - self.times[0]) / self.step + 1) - 1.5
        width = min(max(1.0, width), 40.0)
        parts = [
            svg.line((_LEFT, _BARS_BOTTOM), (_RIGHT, _BARS_BOTTOM), stroke=svg.MUTED),
            svg.text(_LEFT - 8, _BARS_TOP + 8, f"{most:,}", text_anchor="end"),
            svg.text(_LEFT - 8, _BARS_BOTTOM + 4, "0", text_anchor="end"),
            svg.text(_LEFT, _BARS_BOTTOM + 32, "bars: comparisons", font_size=11),
        ]
        for at, moment in zip(self.times, self.moments, strict=True):
            height = max(1.0, (_BARS_BOTTOM - _BARS_TOP) * moment["compared"] / most)
            corner = (self.x(at) - width / 2, _BARS_BOTTOM - height)
            parts.append(svg.bar(corner, (width, height), _told(at, moment), fill=svg.MUTED, fill_opacity="0.55"))
        return parts

    def _runs(self) -> list[list[int]]:
        return svg.runs([at.timestamp() for at in self.times], 1.5 * self.step.total_seconds())


def _widened(points: list[svg.Point]) -> list[svg.Point]:
    """A point by itself as a short line, so that its band can be seen."""
    ((x, y),) = points
    return [(x - 4, y), (x + 4, y)]


def _ticks(first: datetime, last: datetime) -> list[datetime]:
    """Round times, few enough to be read."""
    hours = (last - first) / timedelta(hours=1)
    every = timedelta(hours=next((h for h in _TICK_HOURS if hours / h <= _MOST_TICKS), _TICK_HOURS[-1]))
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    at, found = midnight, []
    while at <= last:
        if at >= first:
            found.append(at)
        at += every
    return found or [first]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"


def _label(at: datetime) -> str:
    return f"{at.day} {at:%b}" if not at.hour else f"{at:%H:%M}"


def _told(at: datetime, moment: Mapping[str, Any]) -> str:
    interval = f"{_percent(moment['rate'])}, {_percent(moment['low'])} to {_percent(moment['high'])}"
    return f"{at.day} {at:%b %H:%M} UTC: {interval}, of {moment['compared']:,}"
