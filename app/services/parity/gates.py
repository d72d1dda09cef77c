"""The gates of the cutover: what must be so before pgvector may answer, and what it is.

A gate is passed, failed, or undecided: more comparisons would tell. What failed makes a report `not ready`; else what
is undecided makes it `not enough evidence`. A share counts by the worse end of its confidence interval, so that luck in
few comparisons opens no gate; and it closes one only where luck cannot explain it, or enough was compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.services.parity.figures import Figures, Rate


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What the gates want; the defaults are the settings' (PARITY_MIN_COMPARISONS and so on)."""

    min_comparisons: int = 1000
    min_hours: float = 24.0
    min_match_rate: float = 0.95
    max_unexplained: int = 0
    max_candidate_error_rate: float = 0.001


class State(StrEnum):
    """How a gate stands."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


class Readiness(StrEnum):
    """The report's verdict."""

    READY = "ready"
    NOT_READY = "not ready"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of the cutover.

    :param value: what is; None where nothing was measured.
    :param wanted: the limit that `value` is held against.
    :param message: a sentence with both, and with what is missing.
    """

    name: str
    state: State
    value: float | None
    wanted: float | None
    message: str

    def to_json(self) -> dict[str, Any]:
        """The element of the report's `gates`."""
        return {
            "name": self.name,
            "passed": self.state is State.PASSED,
            "state": self.state,
            "value": self.value,
            "wanted": self.wanted,
            "message": self.message,
        }


def gates_of(figures: Figures, limits: GateLimits) -> list[Gate]:
    """Every gate with how it stands; a replay takes no time of day, so that it has no gate of hours."""
    gates: list[Callable[[Figures, GateLimits], Gate]] = [_comparisons, _hours, _match_rate, _unexplained]
    gates += [_examined, _candidate_errors, _latency]
    return [gate(figures, limits) for gate in gates if gate is not _hours or figures.query.source == "live"]


def verdict_of(gates: Iterable[Gate]) -> Readiness:
    """What the gates say together."""
    states = {gate.state for gate in gates}
    if State.FAILED in states:
        return Readiness.NOT_READY
    return Readiness.NOT_ENOUGH_EVIDENCE if State.UNDECIDED in states else Readiness.READY


def _comparisons(figures: Figures, limits: GateLimits) -> Gate:
    compared, wanted = figures.total.compared, limits.min_comparisons
    missing = wanted - compared
    message = f"{compared:,} comparisons; {wanted:,} are wanted" + (f", {missing:,} more." if missing > 0 else ".")
    return Gate("comparisons", _state(missing <= 0, is_decided=False), compared, wanted, message)


def _hours(figures: Figures, limits: GateLimits) -> Gate:
    hours, wanted = figures.hours, limits.min_hours
    missing = round(wanted - hours, 1)
    message = f"{hours:,.1f} h from the first comparison to the last; {wanted:g} h are wanted"
    message += f", {missing:,.1f} h more." if missing > 0 else "."
    return Gate("hours", _state(missing <= 0, is_decided=False), hours, wanted, message)


def _match_rate(figures: Figures, limits: GateLimits) -> Gate:
    top1, wanted = figures.total.top1, limits.min_match_rate
    passed = top1.low > wanted
    is_decided = top1.high <= wanted or (_is_enough(figures, limits) and (top1.value or 0.0) <= wanted)
    if not top1.of:
        message = f"Nothing was compared; a match rate over {_percent(wanted)} is wanted."
    else:
        message = (
            f"{top1.hits:,} of {top1.of:,} requests have the same best person ({_percent(top1.hits / top1.of)}), with "
            f"95 % confidence {_percent(top1.low)} or more; over {_percent(wanted)} is wanted."
        )
    if not passed and not is_decided and (top1.value or 0.0) > wanted:
        message += f" At this rate that takes {_needed(top1, wanted) - top1.of:,} comparisons more."
    return Gate("match_rate", _state(passed, is_decided), top1.low if top1.of else None, wanted, message)


def _unexplained(figures: Figures, limits: GateLimits) -> Gate:
    count, wanted = figures.causes["unexplained"], limits.max_unexplained
    message = f"{count:,} {_differences(count)} without an explanation; at most {wanted:,} may be."
    return Gate("unexplained", _state(count <= wanted, is_decided=True), count, wanted, message)


def _examined(figures: Figures, _: GateLimits) -> Gate:
    message = "Every difference was looked into."
    if figures.unseen:
        pending = f"{figures.unseen:,} {_differences(figures.unseen)}"
        message = f"{pending} not looked into: wait a minute, or judge them, or begin the report after them."
    return Gate("examined", _state(not figures.unseen, is_decided=False), figures.unseen, 0, message)


def _candidate_errors(figures: Figures, limits: GateLimits) -> Gate:
    """A comparison that could not be kept counts as a failure: it is lost where the database is away."""
    total, wanted = figures.total, limits.max_candidate_error_rate
    errors = Rate(total.failed + figures.lost, total.asked + figures.lost)
    if errors.value is None:
        return Gate("candidate_errors", State.PASSED, None, wanted, "The PKL answered no request beside pgvector.")
    passed = errors.value < wanted
    lost = f", or the comparison was lost ({figures.lost:,})," if figures.lost else ""
    message = (
        f"pgvector gave no answer to {total.failed:,}{lost} of {errors.of:,} requests "
        f"({_percent(errors.value, 3)}); under {_percent(wanted)} is wanted."
    )
    is_decided = errors.low >= wanted or _is_enough(figures, limits)
    return Gate("candidate_errors", _state(passed, is_decided), errors.value, wanted, message)


def _latency(figures: Figures, limits: GateLimits) -> Gate:
    ours, theirs = figures.pgvector.p95_ms, figures.pkl.p95_ms
    if ours is None or theirs is None:
        return Gate("latency", State.UNDECIDED, ours, theirs, "No times of both galleries were measured.")
    passed = ours < theirs
    message = f"pgvector answers 95 % within {ours:,.1f} ms, the PKL within {theirs:,.1f} ms; faster is wanted."
    return Gate("latency", _state(passed, _is_enough(figures, limits)), ours, theirs, message)


def _state(passed: bool, is_decided: bool) -> State:
    if passed:
        return State.PASSED
    return State.FAILED if is_decided else State.UNDECIDED


def _is_enough(figures: Figures, limits: GateLimits) -> bool:
    return figures.total.compared >= limits.min_comparisons


def _needed(seen: Rate, wanted: float) -> int:
    """How many comparisons bring the interval's lower end over `wanted`, should the share stay as it is."""
    share, count = seen.hits / seen.of, seen.of
    while Rate(math.floor(share * count), count).low <= wanted:
        count = math.ceil(count * 1.02) + 1
    return count


def _percent(share: float, decimals: int = 2) -> str:
    return f"{100 * share:.{decimals}f} %"


def _differences(count: int) -> str:
    return "difference is" if count == 1 else "differences are"
