"""A dual-mode answer, drawn for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def render(title: str, answer: dict[str, Any]) -> Table | str:
    """A table with a line per face: both galleries' best person and whether they agree."""
    if answer.get("status") != "success":
        return f"\n[bold]{title}[/bold]: {answer['error']['code']}: {answer['error']['message']}"
    table = Table(title=f"\n{title} (mode {answer['mode']})", title_justify="left", title_style="bold")
    for heading in ("face at", "PKL", "distance", "confidence"):
        table.add_column(heading)
    comparison = answer.get("comparison")
    if comparison:
        for heading in ("pgvector", "distance", "top1_match", "top-5 overlap"):
            table.add_column(heading)
    for index, face in enumerate(answer["recognized_faces"]):
        table.add_row(*_face(face), *(_shadow(answer, index) if comparison else ()))
    return table


def _face(face: dict[str, Any]) -> tuple[str, ...]:
    box = face["box"]
    return f"{box['x']}, {box['y']}", _name(face), _number(face["distance"], 6), _number(face["confidence"], 1)


def _shadow(answer: dict[str, Any], index: int) -> tuple[str, ...]:
    comparison = answer["comparison"]
    if "candidate_error" in comparison:
        return ("-", "-", comparison["candidate_error"]["code"], "-")
    face = answer["pgvector_results"][index]
    compared = comparison.get("faces", [comparison])[index]
    agree = "[green]true[/green]" if compared["top1_match"] else "[red]false[/red]"
    overlap = f"{compared['top5_overlap']} ({compared['top5_overlap_pct']:.0f} %)"
    return _name(face), _number(face["distance"], 6), agree, overlap


def _name(face: dict[str, Any]) -> str:
    return face["name"] or "[dim]unknown[/dim]"


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"
