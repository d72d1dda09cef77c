"""Makes a domain's search plan: makes templates, asks what it knows the answers to, keeps the fastest good way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec, check_domain_name
from app.errors import AppError, BadRequest, UnknownDomain
from app.services.gallery_holdings import index_name
from app.services.search import tuning_sql as sql
from app.services.search.exact_answers import ExactAnswers
from app.services.search.gallery_reader import MarkedDomain, blocks, by_person, faces_by_person, settled_mark
from app.services.search.plan import SearchPlan, Strategy, crowds
from app.services.search.plan_store import PlanStore
from app.services.search.templates import person_templates
from app.services.search.trials import TIE, Questions, Targets, Trial, time_whole, try_plan
from app.services.search.unseen import UnseenProbes, draw
from app.services.stored_values import register_spec

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_TIMEOUT_S = 600.0
# From cheap to dear: the length of the search list, and how often the way from the expected distance of a person's
# template to a right angle was halved.
_TEMPLATE_WAYS = ((40, 0), (64, 0), (100, 0), (100, 1), (200, 1), (400, 1), (1000, 2))
_IMAGE_WAYS = (100, 200, 400, 800)
_WORTH_IT = 0.95  # a way must be so much faster than the one before that the next is worth a try
_WHOLE_SEARCHES = 15
_WHOLE_MAX_MS = 100.0  # measuring a whole domain is a way to search it while it takes no longer

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """How a domain is tuned.

    :param probes: so many unseen probes are searched, each way.
    :param m: links of each template in the HNSW index; :param ef_construction: the search list while it is built.
    :param retry_margin: a best match so near the threshold is not believed to be the best (VECTOR_DB_RETRY_MARGIN).
    :param dry_run: everything is measured, and the plan in use stays.
    :param strategies: the ways that may be chosen.
    """

    probes: int = 4_000
    target_top1: float = 0.999
    target_top5: float = 0.99
    seed: int = 1
    m: int = 16
    ef_construction: int = 200
    retry_margin: float = 0.02
    dry_run: bool = False
    strategies: tuple[Strategy, ...] = tuple(Strategy)

    @property
    def targets(self) -> Targets:
        """What the plan must find."""
        return Targets(self.target_top1, self.target_top5)


@dataclass(frozen=True, slots=True)
class TuningOutcome:
    """What tuning came to.

    :param plan: the way that was chosen; :param trials: all that were tried, :param best: the chosen one among them.
    :param questions: probes that have a right answer.
    """

    domain: str
    plan: SearchPlan
    trials: tuple[Trial, ...]
    best: Trial
    questions: int
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the chosen way reaches the targets."""
        return self.best.measured.met


class SearchTuner:
    """Tunes the domains of one spec.

    :param max_distance: the threshold of the searches.
    :param store: where plans are kept.
    """

    def __init__(
        self, database: Database, spec: EmbeddingSpec, max_distance: float, store: PlanStore | None = None
    ) -> None:
        self._database = database
        self._spec = spec
        self._max_distance = max_distance
        self._store = store or PlanStore(database)

    def tune(self, domain: str, request: TuningRequest, progress: Progress = lambda _: None) -> TuningOutcome:
        """Choose the fastest way that reaches the targets, and put it in place; searches go on meanwhile.

        :param progress: told what is being done.
        :raises UnknownDomain: the domain has no faces of the spec.
        :raises BadRequest: none of the request's strategies can be tried.
        :raises Conflict: somebody else is tuning it; StoreTimeout: somebody writes faces and does not end.
        :raises StoreUnavailable: the database failed; the plan in use stays.
        """
        began = time.monotonic()
        check_domain_name(domain)
        spec_id = self._spec_id()
        with self._store.alone(domain, spec_id):
            marked, counts = self._marked(domain, spec_id)
            self._store.remove_others(marked)  # what an interrupted run left
            try:
                templates, questions = self._prepare(marked, counts, request, progress)
                trials = tuple(self._try_all(templates, questions, request, progress))
                best = _best(trials)
                plan = best.plan
                if not request.dry_run:
                    plan = self._store.put_in_place(marked, best.plan, best.measured)
            finally:
                self._tidy(marked)
        return TuningOutcome(domain, plan, trials, best, len(questions.answers), time.monotonic() - began)

    def _tidy(self, marked: MarkedDomain) -> None:
        """Remove what was made and not put in place; where the database is away, the next run does it."""
        with suppress(AppError):
            self._store.remove_others(marked)

    def _spec_id(self) -> int:
        with self._database.transaction(_TIMEOUT_S) as cursor:
            return register_spec(cursor, self._spec)

    def _marked(self, domain: str, spec_id: int) -> tuple[MarkedDomain, dict[int, int]]:
        marked = MarkedDomain(domain, spec_id, settled_mark(self._database))
        counts = faces_by_person(self._database, marked)
        if not counts:
            raise UnknownDomain("The database has no faces of the spec in use in this domain.")
        return marked, counts

    def _prepare(
        self, marked: MarkedDomain, counts: Mapping[int, int], request: TuningRequest, progress: Progress
    ) -> tuple[SearchPlan, Questions]:
        """The templates, stored and indexed, and the questions: one reading of the gallery serves both."""
        progress("making probes")
        probes = self._probes(marked, counts, request)
        answers = ExactAnswers(probes)
        plan = SearchPlan(
            plan_id=self._store.add(marked, counts, self._max_distance),
            strategy=Strategy.TEMPLATES,
            ef_search=1,
            max_distance=self._max_distance,
            covered_up_to=marked.mark,
            faces=sum(counts.values()),
            persons=len(counts),
        )
        progress("measuring every face, and making templates")
        templates = 0
        for block in blocks(self._database, marked, counts, counts):
            answers.add(*block)
            templates += self._add_templates(plan.plan_id, block)
        plan = replace(plan, templates=templates)
        if plan.is_indexed:
            progress(f"building the index over {templates} templates")
            self._store.index(plan.plan_id, self._spec.dimensions, request.m, request.ef_construction)
        self._store.analyze()
        return plan, self._questions(marked, probes, answers)

    def _probes(self, marked: MarkedDomain, counts: Mapping[int, int], request: TuningRequest) -> NDArray[np.float32]:
        rng = np.random.default_rng(request.seed)
        drawn = draw(counts, request.probes, rng)
        probes = UnseenProbes(drawn, self._spec.dimensions, self._max_distance, rng)
        for block in blocks(self._database, marked, counts, probes.needed):
            for person, images in by_person(block):
                probes.add(person, images)
        return probes.directions()

    def _add_templates(self, plan_id: int, block: tuple[NDArray[np.int64], NDArray[np.float32]]) -> int:
        made = [(person, person_templates(images, self._max_distance / 2)) for person, images in by_person(block)]
        persons = [person for person, templates in made for _ in templates]
        return self._store.add_templates(plan_id, persons, np.concatenate([templates for _, templates in made]))

    def _questions(self, marked: MarkedDomain, probes: NDArray[np.float32], exact: ExactAnswers) -> Questions:
        answers = exact.within(self._max_distance - TIE)
        asked = [place for place, answer in enumerate(answers) if answer.persons]
        named = {person for answer in answers for person in answer.persons}
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.NAMES, {"persons": sorted(named)})
            names = dict(cursor.fetchall())
        chosen = probes[asked].astype(np.float64)
        return Questions(
            marked.domain, marked.spec_id, self._max_distance, chosen, [answers[place] for place in asked], names
        )

    def _try_all(
        self, templates: SearchPlan, questions: Questions, request: TuningRequest, progress: Progress
    ) -> Iterator[Trial]:
        """The ways from cheap to dear, each kind until it becomes dearer without need."""
        for ways in (_template_ways(templates, request.retry_margin), self._image_ways(templates, questions)):
            cheapest = math.inf
            for plan in ways:
                if plan.strategy not in request.strategies:
                    break
                progress(f"trying {plan.strategy}, search list {plan.ef_search}")
                trial = try_plan(self._database, plan, questions, request.targets)
                yield trial
                if trial.measured.met and trial.measured.search_mean_ms >= cheapest * _WORTH_IT:
                    break
                cheapest = min(cheapest, trial.measured.search_mean_ms if trial.measured.met else math.inf)
        if Strategy.WHOLE in request.strategies:
            progress("trying to measure every face")
            yield time_whole(self._database, replace(templates, strategy=Strategy.WHOLE), questions, _WHOLE_SEARCHES)

    def _image_ways(self, templates: SearchPlan, questions: Questions) -> Iterator[SearchPlan]:
        """Walks through the index over all images, where there is one that persons do not crowd."""
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.IMAGE_INDEX_EXISTS, {"name": index_name(questions.domain, self._spec.key)})
            ((exists,),) = cursor.fetchall()
        for ef_search in _IMAGE_WAYS:
            if exists and not crowds(templates.faces, templates.persons, ef_search):
                yield replace(templates, strategy=Strategy.IMAGES, ef_search=ef_search)


def expected_template_distance(max_distance: float, halvings: int = 0) -> float:
    """How far a person's template may be from a probe whose nearest image is at the threshold.

    The image is at `max_distance` from the probe and at most at half of it from its template. In a space of many
    dimensions the two deviations are as good as at a right angle to each other, so that the cosines multiply.

    :param halvings: so often is the rest of the way to a right angle halved.
    """
    cosine = max(0.0, 1.0 - max_distance) * (1.0 - max_distance / 2)
    return float(1.0 - cosine / 2**halvings)


def _template_ways(templates: SearchPlan, retry_margin: float) -> Iterator[SearchPlan]:
    """An index that finds nobody is not believed: all templates are measured then."""
    margin = retry_margin if templates.is_indexed else None
    for ef_search, halvings in _TEMPLATE_WAYS:
        reach = expected_template_distance(templates.max_distance, halvings)
        yield replace(templates, ef_search=ef_search, max_template_distance=reach, retry_margin=margin)


def _best(trials: tuple[Trial, ...]) -> Trial:
    """The fastest that reaches the targets; else the one that finds most."""
    good = [trial for trial in trials if trial.measured.met and _is_bearable(trial)]
    if good:
        return min(good, key=lambda trial: trial.measured.search_mean_ms)
    tried = [trial for trial in trials if trial.plan.strategy is not Strategy.WHOLE] or trials
    if not tried:
        raise BadRequest("None of these ways is open to the domain: images need their index (scripts.tune_search).")
    return max(tried, key=lambda trial: (trial.complete, trial.measured.top1.low, trial.measured.top5.low))


def _is_bearable(trial: Trial) -> bool:
    return trial.plan.strategy is not Strategy.WHOLE or trial.measured.search_p50_ms <= _WHOLE_MAX_MS
