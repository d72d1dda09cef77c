"""Draws error rates: FNIR against FPIR, as a detection error tradeoff, and both against the threshold.

matplotlib is imported here only, and when something is drawn: a service never does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import BadRequest, StartupError

if TYPE_CHECKING:
    from app.services.calibration.error_rates import Proportion, RatesAt

FORMATS = (".png", ".svg", ".pdf")

_FNIR, _FPIR, _INK, _CHOSEN = "#2a6fb0", "#c2572b", "#333333", "#111111"
_MARKS = ("#3d8f5f", "#8f5aa8", "#b08a1e", "#607080")
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "svg.hashsalt": "tradeoff",  # equal figures give equal files
}


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """What is drawn.

    :param curve: both rates over the thresholds, ascending.
    :param marked: other thresholds, by what they are called.
    """

    curve: Sequence[RatesAt]
    chosen: RatesAt
    marked: dict[str, RatesAt]
    wanted_fpir: float
    subtitle: str


def require_drawable(path: Path) -> None:
    """Find out whether `draw` can, before what it is to show is measured.

    :raises StartupError: matplotlib is not installed; BadRequest: another kind of file, or no folder to write it to.
    """
    if path.suffix.lower() not in FORMATS:
        raise BadRequest(f"A plot ends in {', '.join(FORMATS)}: {path.name} does not.")
    if not path.parent.is_dir():
        raise BadRequest(f"There is no folder {path.parent} for the plot.")
    if find_spec("matplotlib") is None:
        raise StartupError("Plots are drawn by matplotlib, which is not installed: pip install matplotlib")


def draw(tradeoff: Tradeoff, path: Path) -> None:
    """Draw into a file of the kind that its name says.

    :raises StartupError, BadRequest: as `require_drawable`; BadRequest: the file cannot be written.
    """
    require_drawable(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11.5, 5.4), layout="constrained")
        figure.suptitle(tradeoff.subtitle, x=0.012, ha="left", fontsize=11.5, fontweight="bold")
        against, by_threshold = figure.subplots(1, 2)
        _draw_tradeoff(against, tradeoff)
        _draw_by_threshold(by_threshold, tradeoff)
        try:
            figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as exc:
            raise BadRequest(f"The plot cannot be written ({exc.strerror}): {path}") from exc


def _draw_tradeoff(axes: Any, tradeoff: Tradeoff) -> None:
    """FNIR against FPIR; a rate of zero lies on the axis, because a logarithmic scale has no place for it."""
    fpirs, fnirs = [at.fpir for at in tradeoff.curve], [at.fnir for at in tradeoff.curve]
    floor_x, floor_y = min(_floor(fpirs), _decade_below(tradeoff.wanted_fpir)), _floor(fnirs)
    points = [_Point.of(at, floor_x, floor_y) for at in tradeoff.curve]
    fpir = [point.x for point in points]
    band = [at.fnir.interval for at in tradeoff.curve]
    low, high = [max(low, floor_y) for low, _ in band], [max(high, floor_y) for _, high in band]
    axes.fill_between(fpir, low, high, color=_FNIR, alpha=0.15, linewidth=0, label="FNIR, 95 % interval")
    axes.plot(fpir, [point.y for point in points], color=_FNIR, linewidth=2)
    axes.axvline(tradeoff.wanted_fpir, color=_FPIR, linewidth=1, linestyle=(0, (4, 3)), label="wanted FPIR")
    for colour, (name, at) in zip(_MARKS, tradeoff.marked.items(), strict=False):
        point = _Point.of(at, floor_x, floor_y)
        axes.plot(point.x, point.y, "D", color=colour, markersize=7, clip_on=False, label=f"{name}: {at.threshold:g}")
    _draw_chosen(axes, tradeoff.chosen, floor_x, floor_y)
    axes.set(xscale="log", yscale="log", xlim=(floor_x, 1), ylim=(floor_y, 1))
    axes.set(xlabel="FPIR: of strangers, the share that is named", ylabel="FNIR: of the enrolled, the share not named")
    _finish(axes, "What a threshold costs")
    _name_zero(axes.xaxis, floor_x, any(not at.fpir.errors for at in tradeoff.curve))
    _name_zero(axes.yaxis, floor_y, any(not at.fnir.errors for at in tradeoff.curve))


def _name_zero(axis: Any, floor: float, has_zero: bool) -> None:
    """Numbers as they are read; where rates of zero were put onto the floor, it is called zero."""
    axis.set_major_formatter(lambda value, _: "0" if has_zero and value <= floor * 1.01 else f"{value:g}")


def _draw_chosen(axes: Any, chosen: RatesAt, floor_x: float, floor_y: float) -> None:
    """The proposal, with the intervals of both its rates."""
    point = _Point.of(chosen, floor_x, floor_y)
    across, down = chosen.fpir.interval, chosen.fnir.interval
    axes.plot([max(across[0], floor_x), across[1]], [point.y] * 2, color=_CHOSEN, linewidth=1.2, clip_on=False)
    axes.plot([point.x] * 2, [max(down[0], floor_y), down[1]], color=_CHOSEN, linewidth=1.2, clip_on=False)
    label = f"proposed: {chosen.threshold:g}"
    axes.plot(point.x, point.y, "o", color=_CHOSEN, markersize=9, clip_on=False, zorder=5, label=label)


def _draw_by_threshold(axes: Any, tradeoff: Tradeoff) -> None:
    """Both rates against the threshold."""
    thresholds = [at.threshold for at in tradeoff.curve]
    for name, colour, rates in (
        ("FNIR", _FNIR, [at.fnir for at in tradeoff.curve]),
        ("FPIR", _FPIR, [at.fpir for at in tradeoff.curve]),
    ):
        low, high = zip(*(rate.interval for rate in rates), strict=True)
        axes.fill_between(thresholds, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.step(thresholds, [rate.rate for rate in rates], where="post", color=colour, linewidth=2, label=name)
    for colour, (_, at) in zip(_MARKS, tradeoff.marked.items(), strict=False):
        axes.axvline(at.threshold, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.axvline(tradeoff.chosen.threshold, color=_CHOSEN, linewidth=1.4)
    # Where no stranger is named and nobody is lost any more there is nothing to see.
    axes.set(xlim=(0, _last_of_interest(tradeoff)), ylim=(-0.01, 1.01))
    axes.set(xlabel="threshold (cosine distance)", ylabel="rate, with its 95 % interval")
    _finish(axes, "Both rates by threshold")


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color="#555555")
    axes.grid(visible=True, which="major", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="best", fontsize=8.5)


@dataclass(frozen=True, slots=True)
class _Point:
    x: float
    y: float

    @classmethod
    def of(cls, at: RatesAt, floor_x: float, floor_y: float) -> _Point:
        return cls(max(at.fpir.rate, floor_x), max(at.fnir.rate, floor_y))


def _floor(proportions: Sequence[Proportion]) -> float:
    """The decade below all of the rates; for one of zero, below the smallest that so many searches can show."""
    lowest = min(max(proportion.errors, 0.5) / proportion.searches for proportion in proportions)
    return _decade_below(lowest)


def _decade_below(rate: float) -> float:
    return float(10.0 ** math.floor(math.log10(min(rate, 1.0) / 2)))


def _last_of_interest(tradeoff: Tradeoff) -> float:
    """Where FPIR has risen to all but everything."""
    nearly_all = 0.98
    last = next((at.threshold for at in tradeoff.curve if at.fpir.rate >= nearly_all), tradeoff.curve[-1].threshold)
    return 1.05 * max(last, tradeoff.chosen.threshold, *(at.threshold for at in tradeoff.marked.values()))
