"""Two thousand requests through dual mode with planted faults of every cause: the report says what was planted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.postgres import Database
from app.services.parity.figures import FigureQuery
from app.services.parity.gates import GateLimits
from app.services.parity.records import Cause, ComparisonQuery
from app.services.parity.report import parity_report
from app.services.vector_db_service import SearchOptions
from tests.integration.conftest import MakeDatabase
from tests.integration.galleries import make_up, policy_of, spec_of
from tests.integration.parity_world import ParityWorld, WorldOptions
from tests.integration.test_parity_causes import D, crowd, near, on_either_side, swapped

REQUESTS = 2000
DRIFTED, EDGES, TIES, FOREIGN, AWAY, SLOW = 40, 15, 10, 8, 6, 4


@dataclass
class MakeWorld:
    """Makes worlds of one domain each, over one database."""

    storage: Path
    database: Database
    made: list[ParityWorld] = field(default_factory=list)

    def __call__(self, domain: str, database: Database | None = None, **options: Any) -> ParityWorld:
        world = ParityWorld(self.storage, database or self.database, WorldOptions(domain=domain, **options))
        self.made.append(world)
        return world

    def flush(self) -> None:
        """Have everything written and explained."""
        for world in self.made:
            assert world.recorder.flush(120)


@pytest.fixture
def make_world(tmp_path: Path, migrated_database: Database) -> Iterator[MakeWorld]:
    make = MakeWorld(tmp_path, migrated_database)
    yield make
    for world in make.made:
        world.close()


def ask_and_drift(world: ParityWorld, requests: int) -> None:
    """Person 5 is in the PKL alone; whoever asks for anybody else gets one answer."""
    world.fill_pkl(crowd(6))
    world.fill_database(crowd(5))
    for i in range(requests - DRIFTED):
        world.ask(near(i % 5, distance=0.1), request_id=f"same-{i}")
    for i in range(DRIFTED):
        world.ask(near(5), request_id=f"drift-{i}")


def ask_the_index(world: ParityWorld) -> tuple[int, int]:
    """A graph that is searched too briefly; how many requests there were, and how many answers lack somebody."""
    gallery = make_up([5] * 600)
    world.fill(gallery.faces)
    missed = 0
    for probe, exact in zip(gallery.probes, gallery.answers(policy_of(0.7)), strict=True):
        (face,) = world.ask(probe)["pgvector_results"]
        missed += [match["name"] for match in face["matches"]] != [match.person for match in exact]
    return len(gallery.probes), missed


def ask_without_answers(make_world: MakeWorld) -> None:
    """A domain of another spec, a database that is away, and one that is too slow."""
    make_world("foreign", spec=replace(spec_of(D), detector="mtcnn")).fill_database(crowd(2))
    foreign, slow = make_world("foreign"), make_world("slow", limit_s=0.3)
    away = make_world("away", Database("postgresql://nobody@127.0.0.1:1/none"))
    away.pgvector._dual = replace(away.pgvector._dual, record=slow.recorder.record)
    for world, count in ((foreign, FOREIGN), (away, AWAY)):
        world.fill_pkl(crowd(2))
        for _ in range(count):
            world.ask(near(0))
    slow.fill(crowd(2))
    with slow.database.transaction(30) as cursor:  # a search has to wait for this table
        cursor.execute("LOCK TABLE face_embeddings")
        for _ in range(SLOW):
            slow.ask(near(0))


def with_a_slow_pkl(database: Database, days: int = 0) -> None:
    """As if the PKL had taken half a second, as in production, and as if the requests had come over so many days.

    The galleries of a test are small, and it cannot wait.
    """
    with database.transaction(30) as cursor:
        cursor.execute(
            "UPDATE comparisons SET pkl_ms = pkl_ms + 500,"
            " at = at - make_interval(hours => (id %% 24)::int * %(days)s)",
            {"days": days},
        )


@pytest.mark.slow
def test_the_report_of_planted_faults_has_their_exact_numbers_and_is_not_ready(make_world: MakeWorld) -> None:
    index = make_world(
        "index",
        spec=spec_of(128),
        pkl_threshold=0.7,
        pgvector_threshold=0.7,
        search=SearchOptions(ef_search=10, exact_max_rows=0),
    )
    indexed, missed = ask_the_index(index)
    assert missed > 0
    edge, tie = make_world("rounding"), make_world("equals")
    edge.fill(on_either_side(lambda distance: distance <= 0.3))
    tie.fill(swapped())
    for world, count in ((edge, EDGES), (tie, TIES)):
        for _ in range(count):
            world.ask(near(0))
    ask_without_answers(make_world)
    main = make_world("serbia")
    planted = EDGES + TIES + FOREIGN + AWAY + SLOW
    ask_and_drift(main, REQUESTS - indexed - planted)
    make_world.flush()
    with_a_slow_pkl(main.database)

    report = parity_report(main.store)

    assert report["requests"] == REQUESTS
    assert {cause: count for cause, count in report["causes"].items() if count} == {
        Cause.CANDIDATE_ERROR: AWAY,
        Cause.CANDIDATE_TIMEOUT: SLOW,
        Cause.SPEC_MISMATCH: FOREIGN,
        Cause.GALLERY_DRIFT: DRIFTED,
        Cause.ANN_MISS: missed,
        Cause.THRESHOLD_EDGE: EDGES,
        Cause.TIE: TIES,
    }
    assert report["top1"]["compared"] == REQUESTS - FOREIGN - AWAY - SLOW
    assert report["candidate_errors"] == {"asked": REQUESTS, "failed": FOREIGN + AWAY + SLOW}
    assert (report["verdict"], report["lost"]) == ("not ready", 0)
    states = {gate["name"]: gate["state"] for gate in report["gates"]}
    assert states["candidate_errors"] == "failed"
    assert states["hours"] == "undecided"
    assert (states["unexplained"], states["examined"], states["comparisons"]) == ("passed", "passed", "passed")
    by_domain = {row["domain"]: row for row in report["domains"]}
    assert by_domain["serbia"]["compared"] - by_domain["serbia"]["matches"] == DRIFTED
    assert by_domain["serbia"]["flips"] == {"lost": DRIFTED, "gained": 0}
    assert (by_domain["slow"]["rate"], by_domain["slow"]["failed"]) == (None, SLOW)
    assert sum(moment["compared"] for moment in report["series"]) == report["top1"]["compared"]


@pytest.mark.slow
def test_judgements_are_counted_and_a_clean_day_turns_the_gates_to_ready(
    make_world: MakeWorld, make_database: MakeDatabase
) -> None:
    world = make_world("serbia", make_database())
    ask_and_drift(world, 100)
    drifted = world.rows(cause="gallery_drift", domains=["serbia"])
    for row, judged in zip(drifted, ["pkl", "pkl", "both"], strict=False):
        world.store.judge(row.id, "serbia", judged, "t_test")
    before = parity_report(world.store, "serbia")
    assert before["judged"] == {"pkl": 2, "pgvector": 0, "both": 1, "neither": 0}
    assert before["verdict"] == "not ready", "two in five lost somebody: no luck explains that"

    world.fill_database(crowd(6))
    begin = _now(world.database)
    for i in range(1200):
        world.ask(near(i % 6, distance=0.1))
    assert world.recorder.flush(60)
    with_a_slow_pkl(world.database)
    young = parity_report(world.store, "serbia", begin)
    assert (young["verdict"], young["top1"]["matches"]) == ("not enough evidence", 1200)
    assert [gate["name"] for gate in young["gates"] if not gate["passed"]] == ["hours"]
    assert parity_report(world.store, "serbia", begin, GateLimits(min_hours=0))["verdict"] == "ready"

    with world.database.transaction(30) as cursor:
        cursor.execute("DELETE FROM comparisons WHERE at < %(begin)s", {"begin": begin})
    with_a_slow_pkl(world.database, days=2)
    assert parity_report(world.store, "serbia")["verdict"] == "ready"


def _now(database: Database) -> datetime:
    with database.transaction(5) as cursor:
        cursor.execute("SELECT now()")
        ((at,),) = cursor.fetchall()
    assert isinstance(at, datetime)
    return at


def test_a_replay_and_live_requests_are_reported_apart(make_world: MakeWorld) -> None:
    live = make_world("serbia")
    live.fill(crowd(3))
    live.ask(near(0), near(1))
    replay = make_world("serbia", recorder={"source": "replay"})
    for run, probe in (("press", 0), ("press", 1), ("archive", 2)):
        replay.ask(near(probe), request_id=f"replay:{run}:{probe}")
    assert live.recorder.flush(30)
    assert replay.recorder.flush(30)
    counted = {
        (source, run): parity_report(live.store, query=FigureQuery(source=source, run=run))["requests"]  # type: ignore[arg-type]
        for source, run in (("live", None), ("replay", None), ("replay", "press"), ("replay", "pres"))
    }
    assert counted == {("live", None): 1, ("replay", None): 3, ("replay", "press"): 2, ("replay", "pres"): 0}
    faces = parity_report(live.store)["top5"]
    assert (faces["overlap"], faces["size"]) == (2, 2), "both faces of the one request"


def test_times_of_the_report_are_percentiles_of_the_times_in_the_database(make_world: MakeWorld) -> None:
    world = make_world("serbia")
    world.fill(crowd(3))
    for _ in range(30):
        world.ask(near(0))
    rows = world.store.comparisons(ComparisonQuery(verdicts=["agree"], limit=100)) if world.recorder.flush(30) else []
    latency = parity_report(world.store)["latency"]
    for gallery in ("pkl", "pgvector"):
        times = [getattr(row, f"{gallery}_ms") for row in rows]
        expected = np.percentile(times, [50, 95, 99])
        assert [latency[gallery][key] for key in ("p50_ms", "p95_ms", "p99_ms")] == pytest.approx(expected, abs=0.006)
    assert Counter(row.verdict for row in rows) == {"agree": 30}
