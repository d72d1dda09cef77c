"""The parity report in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.services.parity.charts import CAUSES, readable
from app.services.parity.html_report import GATE_TITLES, VERDICT_SENTENCES, moment, percent

READY, NOT_READY, NOT_ENOUGH = 0, 1, 3
EXIT_CODES = {"ready": READY, "not ready": NOT_READY, "not enough evidence": NOT_ENOUGH}
_COLOURS = {"ready": "green", "not ready": "red", "not enough evidence": "yellow"}
_STATES = {"passed": Text("PASS", "green"), "failed": Text("FAIL", "red"), "undecided": Text("OPEN", "yellow")}


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Verdict, gates, figures, causes, times and domains."""
    domain = report["domain"] or "all domains"
    console.print(Text(f"{domain}: {report['verdict']}", f"bold {_COLOURS[report['verdict']]}"))
    console.print(VERDICT_SENTENCES[report["verdict"]])
    if report["first"]:
        console.print(f"{moment(report['first'])} to {moment(report['last'])}")
    tables = [_gates(report), _figures(report), _causes(report), _latency(report)]
    if report["domain"] is None:
        tables.append(_domains(report))
    for table in tables:
        if table.row_count:
            console.print(table)


def _gates(report: Mapping[str, Any]) -> Table:
    table = Table("gate", "", "found")
    for gate in report["gates"]:
        table.add_row(GATE_TITLES[gate["name"]], _STATES[gate["state"]], Text(gate["message"]))
    return table


def _figures(report: Mapping[str, Any]) -> Table:
    table = Table("figure", "", "")
    top1, top5, flips, judged = report["top1"], report["top5"], report["flips"], report["judged"]
    interval = f"{percent(top1['low'])} to {percent(top1['high'])}"
    table.add_row("compared", f"{top1['compared']:,}", f"of {report['requests']:,} requests")
    table.add_row("same best person", percent(top1["rate"]), interval)
    table.add_row("same best five", percent(top5["rate"]), f"{top5['overlap']:,} of {top5['size']:,} persons")
    table.add_row("known, then unknown", f"{flips['lost']:,}", f"and {flips['gained']:,} the other way round")
    table.add_row("who was right", f"{sum(judged.values()):,}", ", ".join(f"{k} {v:,}" for k, v in judged.items()))
    if report["lost"]:
        table.add_row("not kept", f"{report['lost']:,}", "comparisons, which count as failures")
    return table


def _causes(report: Mapping[str, Any]) -> Table:
    table = Table("cause", "count", "meaning")
    for name, (meaning, _) in CAUSES.items():
        if report["causes"].get(name):
            table.add_row(readable(name), f"{report['causes'][name]:,}", meaning)
    return table


def _latency(report: Mapping[str, Any]) -> Table:
    table = Table("search, ms", "p50", "p95", "p99", "timed")
    for gallery, times in report["latency"].items():
        figures = ["-" if times[key] is None else f"{times[key]:,.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")]
        table.add_row(gallery, *figures, f"{times['measured']:,}")
    return table


def _domains(report: Mapping[str, Any]) -> Table:
    table = Table("domain", "compared", "same best person", "95 % confidence", "no answer")
    for row in report["domains"]:
        interval = f"{percent(row['low'])} to {percent(row['high'])}"
        table.add_row(row["domain"], f"{row['compared']:,}", percent(row["rate"]), interval, f"{row['failed']:,}")
    return table
