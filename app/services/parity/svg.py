"""Pieces of an SVG drawing as text; whatever is written into one is escaped.

Colours are custom properties of the page with a fallback: a drawing is light or dark with the page it stands in, and
needs no style of its own, which a strict Content-Security-Policy would refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise

INK = "var(--ink, #191b1f)"
MUTED = "var(--muted, #5a5e66)"
LINE = "var(--line, #dcdbd4)"
ACCENT = "var(--accent, #2457c5)"
OK = "var(--ok, #17693f)"
WARN = "var(--warn, #855400)"
BAD = "var(--bad, #a8231b)"

Value = str | float
Point = tuple[float, float]


def element(name: str, content: str = "", /, **attributes: Value) -> str:
    """An element; `_` in an attribute's name stands for `-`, numbers are written to a tenth of a unit."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(x: float, y: float, content: str, **attributes: Value) -> str:
    """A line of text, muted and 12 units high unless told otherwise."""
    given: dict[str, Value] = {"x": x, "y": y, "fill": MUTED, "font_size": 12}
    return element("text", escape(content), **given | attributes)


def line(start: Point, end: Point, **attributes: Value) -> str:
    """A line, thin and in the colour of rules unless told otherwise."""
    given: dict[str, Value] = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1], "stroke": LINE}
    return element("line", **given | attributes)


def bar(corner: Point, size: Point, hint: str, **attributes: Value) -> str:
    """A rectangle that tells `hint` to a pointer."""
    given: dict[str, Value] = {"x": corner[0], "y": corner[1], "width": size[0], "height": size[1]}
    return element("rect", hover(hint), **given | attributes)


def hover(hint: str) -> str:
    """What a pointer is told."""
    return element("title", escape(hint))


def path(points: Iterable[Point], closed: bool = False) -> str:
    """The `d` of a polyline."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + ("Z" if closed else "")


def drawing(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """The whole SVG, as wide as the page lets it be.

    :param title: what it shows, for whoever cannot see it.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width:g} {height:g}" width="100%" '
        f'role="img" aria-label="{escape(title)}" font-family="inherit">' + "".join(parts) + "</svg>"
    )


def ticks(high: float, about: int = 5) -> list[float]:
    """Round numbers from 0 to the first that is not below `high`, `about` so many."""
    if high <= 0:
        return [0.0, 1.0]
    rough = high / about
    magnitude = 10.0 ** _floor_log10(rough)
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= rough * (1 - 1e-9))
    found = [0.0]
    while found[-1] < high * (1 - 1e-9):
        found.append(round(found[-1] + step, 10))
    return found


def runs(positions: list[float], widest_gap: float) -> list[list[int]]:
    """Indices of points that belong together: no gap between neighbours is wider."""
    found: list[list[int]] = [[0]] if positions else []
    for index, (one, other) in enumerate(pairwise(positions), start=1):
        if other - one > widest_gap:
            found.append([])
        found[-1].append(index)
    return found


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _value(value: Value) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
