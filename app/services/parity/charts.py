"""The report's plots: numbers in, SVG text out, for a page and for a file that is mailed alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.services.parity import svg
from app.services.parity.records import Cause

WIDTH = 760.0
PKL = f"var(--chart-pkl, {svg.MUTED})"
PGVECTOR = f"var(--chart-pgvector, {svg.ACCENT})"

_LABEL_X, _BAR_X, _BAR_END = 0.0, 228.0, 640.0
_CAUSE_H, _GROUP_H, _SIDE_H = 44.0, 58.0, 20.0
_QUANTILES = (("p50_ms", "half", "p50"), ("p95_ms", "95 %", "p95"), ("p99_ms", "99 %", "p99"))

# Each cause's colour tells whose matter it is: a bug, a fault to put right, the index's price, or nobody's.
CAUSES: Mapping[str, tuple[str, str]] = {
    Cause.UNEXPLAINED: ("a bug: please report it", svg.BAD),
    Cause.CANDIDATE_ERROR: ("the shadow failed", svg.BAD),
    Cause.CANDIDATE_TIMEOUT: ("the shadow was too slow", svg.BAD),
    Cause.SPEC_MISMATCH: ("embedded in another way", svg.WARN),
    Cause.GALLERY_DRIFT: ("the galleries hold different images", svg.WARN),
    Cause.ANN_MISS: ("the index missed somebody", svg.ACCENT),
    Cause.THRESHOLD_EDGE: ("at the threshold, within rounding", svg.MUTED),
    Cause.TIE: ("two persons equally far away", svg.MUTED),
    "pending": ("not looked into yet", svg.LINE),
}


def causes_chart(causes: Mapping[str, int]) -> str:
    """Why the galleries differed, as bars, most serious first.

    :param causes: the report's `causes`.
    """
    found = [(name, causes[name]) for name in CAUSES if causes.get(name)]
    if not found:
        return _nothing("Both galleries answered alike: there is no difference to explain.")
    total, most = sum(count for _, count in found), max(count for _, count in found)
    parts = [_cause_row(row, name, count, (most, total)) for row, (name, count) in enumerate(found)]
    told = ", ".join(f"{readable(name)} {count}" for name, count in found)
    return svg.drawing(WIDTH, len(found) * _CAUSE_H + 8, f"Differences by cause: {told}", parts)


def latency_chart(latency: Mapping[str, Mapping[str, Any]]) -> str:
    """How long each gallery took, in milliseconds, as pairs of bars.

    :param latency: the report's `latency`.
    """
    values = [side[key] for side in latency.values() for key, _, _ in _QUANTILES if side.get(key) is not None]
    if not values:
        return _nothing("No times were measured yet.")
    marks = svg.ticks(max(values))
    parts, bottom = [], 30 + len(_QUANTILES) * _GROUP_H
    for mark in marks:
        x = _along(mark, marks[-1])
        parts.append(svg.line((x, 30), (x, bottom)))
        parts.append(svg.text(x, bottom + 18, f"{mark:g}", text_anchor="middle"))
    parts.append(svg.text(_BAR_END + 24, bottom + 18, "milliseconds"))
    for group, quantile in enumerate(_QUANTILES):
        parts += _latency_group(38 + group * _GROUP_H, quantile, latency, marks[-1])
    parts += legend([("bar", PKL, "PKL"), ("bar", PGVECTOR, "pgvector")])
    return svg.drawing(WIDTH, bottom + 28, f"Search time in milliseconds: {_told(latency)}", parts)


def legend(entries: Sequence[tuple[str, str, str]], x: float = _BAR_X, y: float = 16.0) -> list[str]:
    """A row of samples with their names.

    :param entries: kind (`bar`, `line`, `band` or `dash`), colour, and name of each.
    """
    parts = []
    for kind, colour, name in entries:
        if kind in ("line", "dash"):
            dash: dict[str, svg.Value] = {"stroke_dasharray": "5 4"} if kind == "dash" else {}
            parts.append(svg.line((x, y - 4), (x + 18, y - 4), stroke=colour, stroke_width=2, **dash))
        else:
            opacity = "0.22" if kind == "band" else "1"
            corner: dict[str, svg.Value] = {"x": x, "y": y - 10, "width": 18, "height": 12, "rx": 3}
            parts.append(svg.element("rect", "", **corner, fill=colour, fill_opacity=opacity))
        parts.append(svg.text(x + 25, y, name))
        x += 46 + 6.6 * len(name)
    return parts


def readable(name: str) -> str:
    """A cause as people say it."""
    return "ANN miss" if name == Cause.ANN_MISS else name.replace("_", " ")


def _cause_row(row: int, name: str, count: int, most_and_total: tuple[int, int]) -> str:
    most, total = most_and_total
    top = 6 + row * _CAUSE_H
    meaning, colour = CAUSES[name]
    length = max(2.0, (_BAR_END - _BAR_X) * count / most)
    told = f"{count:,}"
    share = f"{100 * count / total:.1f} %"
    return "".join(
        (
            svg.text(_LABEL_X, top + 13, readable(name), fill=svg.INK, font_size=13, font_weight="600"),
            svg.text(_LABEL_X, top + 29, meaning, font_size=11.5),
            svg.bar((_BAR_X, top + 2), (length, 26), f"{readable(name)}: {told} ({share})", fill=colour, rx=4),
            svg.text(_BAR_X + length + 8, top + 20, told, fill=svg.INK, font_size=13, font_weight="600"),
            svg.text(_BAR_X + length + 16 + 8 * len(told), top + 20, share),
        )
    )


def _latency_group(
    top: float, quantile: tuple[str, str, str], latency: Mapping[str, Mapping[str, Any]], end: float
) -> list[str]:
    key, share, name = quantile
    parts = [
        svg.text(_LABEL_X, top + 18, name, fill=svg.INK, font_size=13, font_weight="600"),
        svg.text(_LABEL_X, top + 34, f"{share} of the searches within", font_size=11.5),
    ]
    for side, (gallery, colour) in enumerate((("pkl", PKL), ("pgvector", PGVECTOR))):
        value = latency[gallery].get(key)
        if value is None:
            continue
        y, length = top + side * (_SIDE_H + 2), max(2.0, _along(value, end) - _BAR_X)
        parts.append(svg.bar((_BAR_X, y), (length, _SIDE_H), f"{gallery} {name}: {value:.1f} ms", fill=colour, rx=4))
        label = f"{value:,.1f} ms"
        parts.append(svg.text(_BAR_X + length + 8, y + 14.5, label, fill=svg.INK, font_weight="600"))
    return parts


def _along(value: float, end: float) -> float:
    return _BAR_X + (_BAR_END - _BAR_X) * value / end


def _told(latency: Mapping[str, Mapping[str, Any]]) -> str:
    sides = []
    for gallery, times in latency.items():
        known = [f"{name} {times[key]:.1f}" for key, _, name in _QUANTILES if times.get(key) is not None]
        sides.append(f"{gallery} {', '.join(known) or 'nothing'}")
    return "; ".join(sides)


def _nothing(message: str) -> str:
    return svg.drawing(WIDTH, 56, message, [svg.text(WIDTH / 2, 33, message, text_anchor="middle", font_size=13)])
