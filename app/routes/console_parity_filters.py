"""Which differences the console lists: a filter that a link carries, read from what the browser sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flask import request

from app.errors import BadRequest
from app.services.parity.charts import readable
from app.services.parity.records import Cause, ComparisonQuery, Verdict
from app.services.parity.report import DEFAULT_SINCE, parse_since

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
EVER = "all"

CAUSES = (*map(str, Cause), "pending")

_DIFFERENT = (Verdict.DIFFER, Verdict.CANDIDATE_FAILED)
_JUDGED = {"": None, "yes": True, "no": False}

_LARGEST_ID = 2**63 - 1
_MAX_ID_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Choice:
    """A field of the filter's form.

    :param options: value -> how it reads.
    """

    name: str
    label: str
    options: Mapping[str, str]


CHOICES = (
    Choice("since", "Period", PERIODS | {EVER: "All that is kept"}),
    Choice("verdict", "Kind", {"": "Every kind", Verdict.DIFFER: "Different", Verdict.CANDIDATE_FAILED: "No answer"}),
    Choice("cause", "Cause", {"": "Every cause"} | {cause: readable(cause) for cause in CAUSES}),
    Choice("judged", "Who was right?", {"": "Judged or not", "no": "Not judged", "yes": "Judged"}),
)


@dataclass(frozen=True, slots=True)
class Filters:
    """What is listed; an empty field lets everything pass.

    :param since: one of `PERIODS`, or `EVER`.
    :param judged: `yes` or `no`.
    """

    since: str = DEFAULT_SINCE
    verdict: str = ""
    cause: str = ""
    judged: str = ""

    def arguments(self) -> dict[str, Any]:
        """What a link has to carry to mean the same."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_ALL, name)}

    def query(self, domain: str, before_id: int | None = None, **more: Any) -> ComparisonQuery:
        """The same as a question to the store."""
        return ComparisonQuery(
            domains=(domain,),
            verdicts=(self.verdict,) if self.verdict else _DIFFERENT,
            since=None if self.since == EVER else parse_since(self.since),
            cause=self.cause or None,
            judged=more.pop("judged", _JUDGED[self.judged]),
            before_id=before_id,
            **more,
        )


_ALL = Filters()


def asked_filters() -> Filters:
    """What the request asks for.

    :raises BadRequest: a value that no form of the console sends.
    """
    given = {choice.name: request.args.get(choice.name, getattr(_ALL, choice.name)) for choice in CHOICES}
    for choice in CHOICES:
        if given[choice.name] not in choice.options:
            raise BadRequest(f"There is no such choice for '{choice.name}'.", code=f"invalid_{choice.name}")
    return Filters(**given)


def asked_page() -> int | None:
    """The id before which the list begins; None for its beginning."""
    text = request.args.get("before", "")
    is_id = text.isascii() and text.isdigit() and len(text) <= _MAX_ID_DIGITS
    return min(int(text), _LARGEST_ID) if is_id else None
