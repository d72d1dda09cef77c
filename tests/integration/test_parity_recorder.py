"""Every comparison becomes a row, whatever the database does meanwhile; no request waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from app.adapters.face_seal import FaceSeal
from app.adapters.postgres import Database
from app.domain import FaceBox, GalleryFace
from app.errors import BadRequest, NotFound, StoreUnavailable
from app.services.parity.loss_file import LossFile
from app.services.parity.parity_store import ParityStore
from app.services.parity.person_rows import forget_person, rename_person
from app.services.parity.records import ComparisonQuery
from tests.integration.conftest import MakeDatabase
from tests.integration.parity_world import DOMAIN, WAIT_S, ParityWorld, WorldOptions

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

MakeWorld = Callable[..., ParityWorld]


@pytest.fixture
def make_world(tmp_path: Path, migrated_database: Database) -> Iterator[MakeWorld]:
    made: list[ParityWorld] = []

    def make(database: Database = migrated_database, **options: Any) -> ParityWorld:
        made.append(ParityWorld(tmp_path, database, WorldOptions(**options)))
        return made[-1]

    yield make
    for world in made:
        world.close()


def axis(i: int) -> NDArray[np.float64]:
    return np.eye(16)[i]


def face(person: str, i: int, image: str = "1.jpg") -> GalleryFace:
    return GalleryFace(person, f"{person}/{image}", FaceBox(1, 2, 30, 40), axis(i).astype(np.float32))


def everything(database: Database, table: str) -> list[str]:
    with database.transaction(5) as cursor:
        cursor.execute(f"SELECT t::text FROM {table} AS t")
        return [row for (row,) in cursor.fetchall()]


def drifting(world: ParityWorld) -> ParityWorld:
    """Ana is in the PKL only, Bojan in both."""
    world.fill_pkl([face("Ana", 0), face("Bojan", 1)])
    world.fill_database([face("Bojan", 1)])
    return world


class Switch:
    """A database that can be away, as the writer sees it."""

    def __init__(self, world: ParityWorld) -> None:
        self.store: ParityStore = world.recorder._store
        self.here = self.store.database
        self.away = Database("postgresql://nobody@127.0.0.1:1/none")

    def off(self) -> None:
        self.store.database = self.away

    def on(self) -> None:
        self.store.database = self.here


def test_while_the_database_is_away_requests_are_answered_and_what_fits_the_queue_is_written_later(
    make_world: MakeWorld,
) -> None:
    world = make_world(recorder={"capacity": 3})
    world.fill([face("Ana", 0)])
    database = Switch(world)
    database.off()
    answers = [world.ask(axis(0), request_id=f"r{i}") for i in range(10)]
    assert all(answer["recognized_faces"][0]["name"] == "Ana" for answer in answers)
    lost = world.recorder.status().lost
    assert lost > 0
    database.on()
    assert len(world.rows()) == 10 - lost
    world.ask(axis(0))
    world.rows()
    assert world.store.lost([DOMAIN]) == lost, "what was lost is not noted in the database"
    assert world.store.lost(["elsewhere"]) == 0


def test_the_recorder_says_that_the_database_is_away_and_when_it_is_back(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill([face("Ana", 0)])
    database = Switch(world)
    database.off()
    with capture_logs() as lines:
        world.ask(axis(0))
        assert not world.recorder.flush(3)
    assert "cannot connect" in str(world.recorder.status().problem).lower()
    assert [line["event"] for line in lines].count("DUAL-MODE comparisons wait to be written") == 1
    database.on()
    assert len(world.rows()) == 1
    assert world.recorder.status().problem is None


def test_what_is_waiting_at_the_end_is_written_before_it(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    for _ in range(5):
        world.ask(axis(0))
    world.recorder.close(WAIT_S)
    assert [row.cause for row in world.rows()] == ["gallery_drift"] * 5


def test_what_cannot_be_written_at_the_end_is_counted_as_lost_by_the_next_process(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    losses = LossFile(tmp_path / "parity" / "lost.json")
    world = make_world(recorder={"losses": losses})
    world.fill([face("Ana", 0)])
    database = Switch(world)
    database.off()
    for _ in range(5):
        world.ask(axis(0))
    world.recorder.close(0.2)
    database.on()
    next_one = make_world(recorder={"losses": losses})
    next_one.recorder.start()
    next_one.ask(axis(0))
    next_one.rows()
    assert next_one.store.lost([DOMAIN]) == 5
    third = make_world(recorder={"losses": losses})
    third.recorder.start()
    assert third.recorder.status().lost == 0, "counted twice"


def test_while_nobody_can_tell_whether_a_person_is_in_the_pkl_the_row_waits_and_keeps_the_name(
    make_world: MakeWorld,
) -> None:
    world = drifting(make_world())
    is_readable = False

    def known(domain: str, names: Sequence[str]) -> set[str]:
        if not is_readable:
            raise StoreUnavailable("The PKL is being written.")
        return world.known_in_pkl(domain, names)

    world.store._known_elsewhere = known
    world.ask(axis(0))
    assert not world.recorder.flush(2)
    is_readable = True
    assert world.row().pkl_top1 == "Ana"


def test_a_batch_whose_commit_was_lost_is_not_written_twice(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill([face("Ana", 0)])
    write, tries = world.store.write, []

    def written_but_not_said(*args: Any) -> None:
        write(*args)
        tries.append(args)
        if len(tries) == 1:
            Database("postgresql://nobody@127.0.0.1:1/none").connect()

    world.store.write = written_but_not_said  # type: ignore[method-assign]
    world.ask(axis(0))
    assert len(world.rows()) == 1
    assert len(tries) == 2


def test_a_path_that_postgres_cannot_hold_is_written_out(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl([face("Ana", 0, image="broken\udcff.jpg")])
    world.fill_database([face("Bojan", 1)])
    world.ask(axis(0))
    row = world.row()
    assert row.details[0]["pkl"][0]["image"] == "Ana/broken\\udcff.jpg"
    assert row.cause == "gallery_drift"


def test_the_log_says_the_cause_and_no_name(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    with capture_logs() as lines:
        world.ask(axis(0), request_id="abc")
        world.rows()
    (line,) = [line for line in lines if line["event"] == "DUAL-MODE cause"]
    assert (line["request_id"], line["cause"], line["domain"]) == ("abc", "gallery_drift", DOMAIN)
    assert not any("Ana" in str(line) for line in lines)


def test_rows_older_than_the_retention_are_deleted_by_one_of_the_workers(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    world.ask(axis(0), request_id="old")
    world.ask(axis(0), request_id="new")
    world.rows()
    with world.database.transaction(5) as cursor:
        cursor.execute("UPDATE comparisons SET at = now() - interval '91 days' WHERE request_id = 'old'")
        cursor.execute("SELECT pg_advisory_xact_lock(7263947102852)")
        assert world.store.prune(90) == 0, "two pruned at once"
    assert world.store.prune(90) == 1
    assert [row.request_id for row in world.rows()] == ["new"]


def one_row_of(world: ParityWorld, age: str) -> None:
    world.ask(axis(0))
    world.rows()
    with world.database.transaction(5) as cursor:
        cursor.execute(f"UPDATE comparisons SET at = now() - interval '{age}'")


def are_gone(world: ParityWorld) -> bool:
    """Whether no row is older than the retention; looked at for as long as a slow machine may take."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with world.database.transaction(5) as cursor:
            cursor.execute("SELECT count(*) FROM comparisons WHERE at < now() - interval '90 days'")
            if cursor.fetchone() == (0,):
                return True
        time.sleep(0.1)
    return False


def test_a_process_that_records_nothing_deletes_what_is_old_too(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    one_row_of(world, "91 days")
    idle = make_world()
    idle.recorder.start()
    assert are_gone(idle)


def test_what_is_old_is_deleted_while_requests_keep_coming(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    one_row_of(world, "91 days")
    busy, stop = make_world(), threading.Event()

    def requests() -> None:
        while not stop.is_set():
            busy.ask(axis(1))

    steady = threading.Thread(target=requests)
    steady.start()
    try:
        assert are_gone(busy)
    finally:
        stop.set()
        steady.join(WAIT_S)


def test_no_vector_is_kept_unless_it_is_asked_for(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    world.ask(axis(0))
    world.rows()
    assert everything(world.database, "comparison_faces") == []


def test_faces_that_are_kept_are_sealed_and_only_those_that_differ(make_world: MakeWorld) -> None:
    seal = FaceSeal(KEY)
    world = drifting(make_world(recorder={"seal": seal.seal}))
    world.ask(axis(1))
    world.ask(axis(0))
    agreed, differing = world.rows()
    assert world.store.sealed_faces(agreed.id) == {}
    sealed = world.store.sealed_faces(differing.id)[0]
    plain = axis(0).astype("<f4").tobytes()
    assert plain not in sealed
    assert seal.open(sealed) == plain


def test_a_deleted_person_is_in_no_row_any_more_and_the_figures_stay(make_world: MakeWorld) -> None:
    world = drifting(make_world(recorder={"seal": FaceSeal(KEY).seal}))
    world.ask(axis(0), axis(1))
    before = world.row()
    assert "Ana" in "".join(everything(world.database, "comparisons"))
    with world.database.transaction(5) as cursor:
        assert forget_person(cursor, DOMAIN, "Ana") == 1
    row = world.row()
    assert "Ana" not in "".join(everything(world.database, "comparisons"))
    assert everything(world.database, "comparison_faces") == []
    assert (row.pkl_top1, row.pgvector_top1) == ("(deleted)", None)
    assert row.details[0]["pkl"][0]["image"] is None
    assert row.details[1]["pkl"][0]["name"] == "Bojan"
    assert (row.verdict, row.cause, row.top5_overlap) == (before.verdict, before.cause, before.top5_overlap)


def test_whoever_is_deleted_while_their_comparison_waits_is_not_written_afterwards(make_world: MakeWorld) -> None:
    world = drifting(make_world(recorder={"seal": FaceSeal(KEY).seal}))
    database = Switch(world)
    database.off()
    world.ask(axis(0))
    world.fill_pkl([face("Bojan", 1)])
    with world.database.transaction(5) as cursor:
        forget_person(cursor, DOMAIN, "Ana")
    database.on()
    assert world.row().pkl_top1 == "(deleted)"
    assert "Ana" not in "".join(everything(world.database, "comparisons"))
    assert everything(world.database, "comparison_faces") == []


def test_a_renamed_person_is_renamed_in_every_row_with_their_images(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    world.ask(axis(0))
    world.rows()
    with world.database.transaction(5) as cursor:
        assert rename_person(cursor, "elsewhere", "Ana", "Anica", {}) == 0
        assert rename_person(cursor, DOMAIN, "Ana", "Anica", {"Ana/1.jpg": "Anica/1.jpg"}) == 1
    row = world.row()
    assert row.pkl_top1 == "Anica"
    assert row.details[0]["pkl"][0] == {"name": "Anica", "image": "Anica/1.jpg", "distance": 0.0}
    assert row.proof["faces"][0]["persons"][0]["name"] == "Anica"  # type: ignore[index]
    assert "Ana" not in "".join(everything(world.database, "comparisons"))


def test_discrepancies_are_listed_newest_first_by_what_is_asked(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    for i in (0, 1, 0):
        world.ask(axis(i), request_id=f"r{i}")
    newest, oldest = world.rows()[::-2]
    listed = world.store.comparisons(ComparisonQuery(domains=[DOMAIN]))
    assert [row.id for row in listed] == [newest.id, oldest.id]
    assert [row.id for row in world.store.comparisons(ComparisonQuery(before_id=newest.id))] == [oldest.id]
    assert world.store.comparisons(ComparisonQuery(cause="ann_miss")) == []
    assert world.store.comparisons(ComparisonQuery(cause="pending")) == []
    assert world.store.comparisons(ComparisonQuery(domains=["elsewhere"])) == []
    assert len(world.store.comparisons(ComparisonQuery(since=oldest.at, until=newest.at))) == 1


def test_who_was_right_is_noted_and_may_be_corrected(make_world: MakeWorld) -> None:
    world = drifting(make_world())
    world.ask(axis(1))
    world.ask(axis(0))
    agreed, differing = world.rows()
    world.store.judge(differing.id, DOMAIN, "pkl", "t_1")
    world.store.judge(differing.id, DOMAIN, "both", "t_2")
    row = world.store.comparison(differing.id, [DOMAIN])
    assert (row.judged, row.judged_by) == ("both", "t_2")
    assert [r.id for r in world.store.comparisons(ComparisonQuery(judged=True))] == [differing.id]
    with pytest.raises(BadRequest):
        world.store.judge(differing.id, DOMAIN, "nobody", "t_1")
    for id, domain in ((differing.id, "elsewhere"), (agreed.id, DOMAIN), (0, DOMAIN)):
        with pytest.raises(NotFound):
            world.store.judge(id, domain, "pkl", "t_1")
    with pytest.raises(NotFound):
        world.store.comparison(differing.id, ["elsewhere"])


def test_after_the_cutover_pgvector_answers_and_the_pkl_shadows(make_world: MakeWorld) -> None:
    world = make_world(answered_by="pgvector")
    world.fill_pkl([face("Bojan", 1)])
    world.fill_database([face("Ana", 0), face("Bojan", 1)])
    answer = world.ask(axis(0))
    assert answer["recognized_faces"] == answer["pgvector_results"]
    assert answer["recognized_faces"][0]["name"] == "Ana"
    assert (answer["comparison"]["pkl_top1"], answer["comparison"]["pgvector_top1"]) == (None, "Ana")
    row = world.row()
    assert (row.answered_by, row.cause, row.known_flip) == ("pgvector", "gallery_drift", "gained")


def test_a_pkl_that_shadows_and_is_gone_changes_nothing_but_the_comparison(make_world: MakeWorld) -> None:
    world = make_world(answered_by="pgvector")
    world.fill_database([face("Ana", 0)])
    answer = world.ask(axis(0))
    assert answer["recognized_faces"][0]["name"] == "Ana"
    assert answer["comparison"]["pkl_error"]["code"] == "unknown_domain"
    row = world.row()
    assert (row.verdict, row.cause, row.pgvector_top1) == ("candidate_failed", "candidate_error", "Ana")


def test_a_database_without_the_table_loses_comparisons_and_no_answers(
    make_world: MakeWorld, make_database: MakeDatabase
) -> None:
    world = make_world()
    world.fill([face("Ana", 0)])
    Switch(world).store.database = make_database("template0")
    assert world.ask(axis(0))["comparison"]["top1_match"] is True
    assert not world.recorder.flush(3)
    assert "scripts.migrate" in str(world.recorder.status().problem)


def test_of_two_requests_the_sample_rate_compares_none_or_all(make_world: MakeWorld) -> None:
    never = make_world(sample_rate=0.0)
    never.fill([face("Ana", 0)])
    answer = never.ask(axis(0))
    assert answer["recognized_faces"][0]["name"] == "Ana"
    assert answer["pgvector_results"] == []
    assert answer["comparison"]["sampled"] is False
    assert answer["comparison"]["top1_match"] is None
    assert never.rows() == []
    always = make_world(sample_rate=1.0)
    always.ask(axis(0))
    assert len(always.rows()) == 1
