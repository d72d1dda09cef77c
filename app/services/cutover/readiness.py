"""What speaks against a cutover now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.services.parity.gates import Readiness

Report = Mapping[str, Any]


def reasons_against(
    report_of: Callable[[str | None], Report], pkl_domains: frozenset[str], database_domains: frozenset[str]
) -> list[str]:
    """Sentences; none where pgvector may answer.

    All domains together must be `ready`. A domain by itself may have few comparisons; but none that is `not ready` may
    hide behind the others, none may have no comparison at all, and none may be missing in the database.

    :param report_of: the report of a domain, or of all.
    """
    missing = sorted(pkl_domains - database_domains)
    reasons = [f"The database has no domain {domain}: its requests would get no answer." for domain in missing]
    reasons += _open_gates(report_of(None))
    for domain in sorted(pkl_domains & database_domains):
        report = report_of(domain)
        if not report["top1"]["compared"]:
            reasons.append(f"{domain}: none of its requests was compared.")
        if report["verdict"] == Readiness.NOT_READY:
            reasons += [f"{domain}: {sentence}" for sentence in _open_gates(report, "failed")]
    return list(dict.fromkeys(reasons))


def _open_gates(report: Report, *states: str) -> list[str]:
    wanted = states or ("failed", "undecided")
    return [gate["message"] for gate in report["gates"] if gate["state"] in wanted]
