"""What is said of a search benchmark's figures: the table for people, and the ratios in the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.search_measure import Figures

Shapes = Mapping[str, Mapping[str, Figures]]

_OURS, _PEER = "pgvector", "deepface_find"
_COLUMNS = ("p50", "p95", "p99", "top person", "95 %", "five best", "index MiB", "build s", "/s, of several callers")


def print_shape(console: Console, name: str, ways: Mapping[str, Figures]) -> None:
    """A table of one shape: a line for each way, and for a graph at the recall of five and for the small domain."""
    table = Table(title=f"{name}: milliseconds and recall, one probe at a time", title_justify="left")
    table.add_column("way")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for way, figures in ways.items():
        table.add_row(way, *_cells(figures))
        complete = figures.get("five_best_too")
        if complete and complete["effort"] != figures["effort"]:
            table.add_row("  five best too", *_cells(complete))
        if "small_domain" in figures:
            table.add_row("  small domain", *_cells(figures["small_domain"]))
    if _PEER in ways:
        table.caption = _of_find(ways[_PEER])
        table.caption_justify = "left"
    console.print(table)


def compared(shapes: Shapes) -> dict[str, Any]:
    """The figures of the first shape by way, all shapes, and the ratios between them.

    `speedup_vs_deepface_find` is the least of all shapes, `..._search_only` the same without loading the gallery file;
    `growth` is a way's p50 at each further shape, in units of its p50 at the second shape.
    """
    first = next(iter(shapes.values()))
    told = {name: {**ways, **_speedups(ways)} for name, ways in shapes.items()}
    speedups = [_speedups(ways) for ways in shapes.values() if _OURS in ways and _PEER in ways]
    least = {name: min(of_shape[name] for of_shape in speedups) for name in next(iter(speedups), {})}
    return {**first, **least, "shapes": told, "growth": _growth(shapes)}


def _speedups(ways: Mapping[str, Figures]) -> dict[str, float]:
    """How many times as fast as DeepFace's `find` our path is: all of it, and its search without the load."""
    if _OURS not in ways or _PEER not in ways:
        return {}
    ours, peer = ways[_OURS]["p50_ms"], ways[_PEER]
    search_only = min(variant["search_p50_ms"] for variant in peer["variants"].values())
    return {
        "speedup_vs_deepface_find": round(peer["p50_ms"] / ours, 1),
        "speedup_vs_deepface_find_search_only": round(search_only / ours, 1),
    }


def _growth(shapes: Shapes) -> dict[str, dict[str, float]]:
    names = list(shapes)
    base, further = names[:2][-1], names[2:]
    return {
        name: {
            way: round(figures["p50_ms"] / shapes[base][way]["p50_ms"], 2)
            for way, figures in shapes[name].items()
            if way in shapes[base]
        }
        for name in further
    }


def _cells(figures: Figures) -> list[str]:
    low, high = figures["top_person_recall_95"]
    rates = figures.get("searches_per_s", {}).values()
    return [
        *(_number(figures[f"p{q}_ms"]) for q in (50, 95, 99)),
        _number(figures["top_person_recall"], 4),
        f"{low:.4f} to {high:.4f}",
        _number(figures["recall_at_5"], 4),
        _number(figures.get("index_mib"), 0),
        _number(figures.get("build_s"), 1),
        " / ".join(f"{rate:,.0f}" for rate in rates),
    ]


def _of_find(figures: Figures) -> str:
    parts = [
        f"{name}: {variant['load_p50_ms']:,.0f} + {variant['search_p50_ms']:,.0f}"
        for name, variant in figures["variants"].items()
    ]
    scaled = f"; measured at {figures['measured_rows']:,} rows, times scaled" if figures["scaled_by"] > 1 else ""
    return f"DeepFace's find, load + search in ms: {'; '.join(parts)}{scaled}"


def _number(value: float | None, places: int = 2) -> str:
    return "" if value is None else f"{value:,.{places}f}"
