"""Draws a search benchmark: what each way takes, against how many persons it loses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.search_measure import Figures

# The palette of Okabe and Ito (2008), which colour-blind readers tell apart.
_COLOURS = {
    "pgvector": "#D55E00",
    "pkl": "#0072B2",
    "deepface_find": "#000000",
    "numpy": "#009E73",
    "hnswlib": "#CC79A7",
    "faiss": "#E69F00",
    "faiss_flat": "#56B4E9",
}
_LABELS = {
    "pgvector": "pgvector (ours)",
    "pkl": "PKL (ours)",
    "deepface_find": "DeepFace find",
    "numpy": "NumPy, exact",
    "hnswlib": "hnswlib",
    "faiss": "faiss HNSW",
    "faiss_flat": "faiss flat, exact",
}
_LEAST_LOST = 2e-4  # where a way that loses nobody is drawn: a logarithm knows no zero
_MILLISECONDS = (0.1, 1, 10, 100, 1000, 10_000, 100_000)
_LOST = ((0.3, "30 %"), (0.1, "10 %"), (0.03, "3 %"), (0.01, "1 %"), (0.001, "0.1 %"), (_LEAST_LOST, "none"))
_TARGET = 1e-3  # what VECTOR_DB_TARGET_RECALL allows to be lost by default
_COLUMNS = 2
_LINE = 0.27  # height of a line of text, in powers of ten of the scale
_GREY = "#666666"
_OURS = ("pgvector", "pkl")


def draw(shapes: Mapping[str, Mapping[str, Figures]], path: Path) -> None:
    """Write `path`.svg and `path`.png, a panel for each shape.

    A graph's line runs over the efforts it was tried with; the large point is what the table tells. Hollow points are
    other plans that our tuner tried, on probes of its own.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "search", "axes.spines.top": False}):
        columns = min(len(shapes), _COLUMNS)
        lines = -(-len(shapes) // columns)
        size = (6.2 * columns + 0.4, 4.8 * lines + 0.2)
        figure, grid = pyplot.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
        for panel in grid.flat[len(shapes) :]:
            panel.set_visible(False)
        for panel, (name, ways) in zip(grid.flat, shapes.items(), strict=False):
            _draw_panel(panel, name, ways)
        for panel in grid[:, 0]:
            panel.set_ylabel("median time of a search, ms (less is better)")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=150)
        pyplot.close(figure)


def _draw_panel(panel: Any, name: str, ways: Mapping[str, Figures]) -> None:
    panel.set_title(_title(name), loc="left", fontsize=11, fontweight="bold")
    for way, figures in ways.items():
        _draw_tries(panel, figures, _COLOURS[way])
        points = figures.get("curve", [])
        style = {"color": _COLOURS[way], "zorder": 4 if way in _OURS else 3}
        lost, times = [_lost(point) for point in points], [point["p50_ms"] for point in points]
        panel.plot(lost, times, marker=".", linewidth=1.4, alpha=0.6, **style)
        size = 95 if way in _OURS else 50
        panel.scatter([_lost(figures)], [figures["p50_ms"]], s=size, edgecolor="white", **style)
    _name_points(panel, ways)
    _axes(panel)


def _draw_tries(panel: Any, figures: Figures, colour: str) -> None:
    """The plans that the tuner tried for the largest domain, hollow."""
    plans = list(figures.get("plans", {}).values())
    tries = [tried for plan in plans[:1] for tried in plan["tries"]]
    places = [_lost(tried) for tried in tries], [tried["p50_ms"] for tried in tries]
    panel.scatter(*places, s=22, facecolor="white", edgecolor=colour, linewidth=1, zorder=2)


def _name_points(panel: Any, ways: Mapping[str, Figures]) -> None:
    """The end of each way with its name and time, beside the right edge, moved apart where they would overlap."""
    places = {way: math.log10(figures["p50_ms"]) for way, figures in ways.items()}
    height = -math.inf
    for way in sorted(places, key=lambda way: places[way]):
        height = max(places[way], height + _LINE)
        panel.annotate(
            f"{_LABELS[way]}  {_written(ways[way]['p50_ms'])} ms",
            xy=(_lost(ways[way]), 10 ** places[way]),
            xytext=(1.03, 10**height),
            textcoords=panel.get_yaxis_transform(),
            color=_COLOURS[way],
            fontweight="bold" if way in _OURS else "normal",
            va="center",
            fontsize=9.5,
            arrowprops={"arrowstyle": "-", "color": _COLOURS[way], "linewidth": 0.6, "alpha": 0.6, "relpos": (0, 0.5)},
            annotation_clip=False,
        )


def _written(milliseconds: float) -> str:
    """Two significant digits, no exponent."""
    return f"{float(f'{milliseconds:.2g}'):,g}"


def _axes(panel: Any) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlim(0.6, _LEAST_LOST * 0.7)
    panel.set_ylim(_MILLISECONDS[0] / 2, _MILLISECONDS[-1])
    panel.set_xticks([place for place, _ in _LOST], [label for _, label in _LOST])
    panel.set_yticks(_MILLISECONDS, [f"{time:,g}" for time in _MILLISECONDS])
    panel.minorticks_off()
    panel.axvline(_TARGET, color="#999999", linewidth=1, linestyle=(0, (4, 3)))
    panel.text(_TARGET * 1.08, _MILLISECONDS[-1] * 0.75, "target", color=_GREY, fontsize=9, ha="right", va="top")
    panel.set_xlabel("probes whose person is not found first (less is better)")
    panel.grid(color="#E5E5E5", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["right", "left", "bottom"]].set_color("#BBBBBB")
    panel.tick_params(color="#BBBBBB", labelcolor=_GREY)


def _lost(point: Figures) -> float:
    return max(1.0 - float(point["top_person_recall"] or 0.0), _LEAST_LOST)


def _title(name: str) -> str:
    """`1000000x50000-99-1` -> `1,000,000 faces of 50,000 persons, domains 99:1`."""
    size, _, shares = name.partition("-")
    rows, persons = (int(number) for number in size.split("x"))
    return f"{rows:,} faces of {persons:,} persons" + (f", domains {shares.replace('-', ':')}" if shares else "")
