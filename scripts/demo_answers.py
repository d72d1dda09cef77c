"""A dual-mode answer, drawn for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table


def render(title: str, answer: dict[str, Any]) -> Table | str:
    """A table with a line per face: whom each gallery sees, at which distance, and whether they agree."""
    if answer.get("status") != "success":
        return f"\n[bold]{title}[/bold]: {answer['error']['code']}: {answer['error']['message']}"
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, min_width=78)
    comparison = answer.get("comparison")
    shadow = ("pgvector shadows", "top1_match", "top 5") if comparison else ()
    for heading in ("face at", "pgvector answers" if answer["mode"] == "pgvector" else "PKL answers", *shadow):
        table.add_column(heading, no_wrap=True)
    for index, face in enumerate(answer["recognized_faces"]):
        corner = f"{face['box']['x']}, {face['box']['y']}"
        table.add_row(corner, _person(face), *(_shadow(answer, index) if comparison else ()))
    return table


def _shadow(answer: dict[str, Any], index: int) -> tuple[str, ...]:
    comparison = answer["comparison"]
    if "candidate_error" in comparison:
        return f"[red]{comparison['candidate_error']['code']}[/red]", "-", "-"
    compared = comparison.get("faces", [comparison])[index]
    agree = "[green]true[/green]" if compared["top1_match"] else "[red]false[/red]"
    return _person(answer["pgvector_results"][index]), agree, f"{compared['top5_overlap_pct']:.0f} %"


def _person(face: dict[str, Any]) -> str:
    return f"{face['name']}  {face['distance']:.6f}" if face["name"] else "[dim]unknown[/dim]"
