"""Answers about photos and videos, drawn for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from app.services.video.records import OUTLIERS

Answer = dict[str, Any]

_UNSEARCHED = "[yellow]-[/yellow]"


def render(title: str, answer: Answer) -> Table | str:
    """A table with a line per face: whom each gallery sees, at which distance, and whether they agree."""
    if answer.get("status") != "success":
        return f"\n[bold]{title}[/bold]: {answer['error']['code']}: {answer['error']['message']}"
    table = _table(title)
    comparison = answer.get("comparison")
    shadow = ("pgvector shadows", "top1_match", "top 5") if comparison else ()
    for heading in ("face at", "pgvector answers" if answer["mode"] == "pgvector" else "PKL answers", *shadow):
        table.add_column(heading, no_wrap=True)
    for index, face in enumerate(answer["recognized_faces"]):
        corner = f"{face['box']['x']}, {face['box']['y']}"
        table.add_row(corner, _person(face), *(_shadow(answer, index) if comparison else ()))
    return table


def render_video(title: str, results: Answer) -> Table:
    """A table with a line per identity: when it is seen, whom the gallery takes it for, and whose profiles match."""
    table = _table(title)
    for heading in ("identity", "faces", "seen at, s", "in the gallery", "profile matches"):
        table.add_column(heading, no_wrap=True)
    for identity in results["identities"]:
        number = "outliers" if identity["cluster_id"] == OUTLIERS else str(identity["cluster_id"])
        seen = ", ".join(f"{stretch['start_s']:.1f}-{stretch['end_s']:.1f}" for stretch in identity["timeline"])
        person = _name(identity["matches"]) if _is_done(results["gallery_search"]) else _UNSEARCHED
        profiles = _profiles(identity["profile_matches"]) if _is_done(results["profile_search"]) else _UNSEARCHED
        table.add_row(number, str(identity["face_count"]), seen, person, profiles)
    return table


def unsearched(results: Answer) -> list[str]:
    """A line for each search that was not done."""
    searches = {"The gallery was": results["gallery_search"], "Profiles were": results["profile_search"]}
    return [
        f"[yellow]{what} not searched:[/yellow] {search['reason']}"
        for what, search in searches.items()
        if not _is_done(search)
    ]


def _is_done(search: Answer) -> bool:
    return bool(search["status"] == "ok")


def _name(matches: list[Answer]) -> str:
    return _person(matches[0] if matches else {"name": None})


def _profiles(matches: list[Answer]) -> str:
    """A line per match, best first."""
    return "\n".join(f"{match['platform']:<9} {match['similarity']:.3f}" for match in matches) or "[dim]none[/dim]"


def _table(title: str) -> Table:
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, min_width=78)


def _shadow(answer: Answer, index: int) -> tuple[str, ...]:
    comparison = answer["comparison"]
    if "candidate_error" in comparison:
        return f"[red]{comparison['candidate_error']['code']}[/red]", "-", "-"
    compared = comparison.get("faces", [comparison])[index]
    agree = "[green]true[/green]" if compared["top1_match"] else "[red]false[/red]"
    return _person(answer["pgvector_results"][index]), agree, f"{compared['top5_overlap_pct']:.0f} %"


def _person(face: Answer) -> str:
    return f"{face['name']}  {face['distance']:.6f}" if face["name"] else "[dim]unknown[/dim]"
