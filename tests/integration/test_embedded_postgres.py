"""Starting, sharing and ending the embedded server, after clean ends and after others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.postgres import Database
from app.errors import StartupError, StoreUnavailable

ROOT = Path(__file__).parents[2]
MakeServer = Callable[..., EmbeddedPostgres]


@pytest.fixture(scope="module")
def pgdata(make_folder: Callable[[], Path]) -> Path:
    """A data folder that the tests use one after the other."""
    return make_folder() / "pgdata"


@pytest.fixture
def new_pgdata(make_folder: Callable[[], Path]) -> Path:
    return make_folder() / "pgdata"


@pytest.fixture
def make_server(pgdata: Path) -> Iterator[MakeServer]:
    """Makes users of a data folder; stops what they leave running."""
    made: list[EmbeddedPostgres] = []

    def make(folder: Path = pgdata) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(folder))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def answers(server: EmbeddedPostgres) -> bool:
    try:
        with Database(lambda: server.url).transaction(5) as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() == (1,)
    except StoreUnavailable:
        return False


def setting(server: EmbeddedPostgres, name: str) -> str:
    with Database(server.url).transaction(5) as cursor:
        cursor.execute("SELECT current_setting(%(name)s)", {"name": name})
        ((value,),) = cursor.fetchall()
        return str(value)


def test_it_starts_stops_and_starts_again_with_its_data(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    assert server.started_here
    with Database(server.url).transaction(5) as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS kept ()")
    server.stop()
    assert not answers(server)
    server.start()
    with Database(server.url).transaction(5) as cursor:
        cursor.execute("SELECT 'kept'::regclass::text")
        assert cursor.fetchone() == ("kept",)


def test_asking_for_the_url_starts_nothing(make_server: MakeServer) -> None:
    with pytest.raises(StoreUnavailable, match="not running"):
        _ = make_server().url


def test_a_process_that_did_not_start_it_finds_it_by_its_folder(make_server: MakeServer) -> None:
    make_server().start()
    assert answers(make_server())


def test_nothing_listens_on_tcp_and_no_value_of_a_failed_statement_is_logged(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    assert setting(server, "listen_addresses") == ""
    with pytest.raises(StoreUnavailable), Database(server.url).transaction(5) as cursor:
        cursor.execute("SELECT %(name)s::int", {"name": "Name Surname"})
    said = (server.pgdata / "server.log").read_text()
    assert "STATEMENT" not in said


def test_an_operators_setting_outlives_a_restart(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    Database(server.url).connect().cursor().execute("ALTER SYSTEM SET shared_buffers = '64MB'")
    server.stop()
    server.start()
    assert setting(server, "shared_buffers") == "64MB"


def test_the_last_user_to_leave_ends_it(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    first.start()
    second.start()
    assert not second.started_here
    first.stop()
    assert answers(second)
    second.stop()
    assert not answers(second)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
def test_it_ends_in_a_folder_that_was_closed_to_its_account_meanwhile(make_server: MakeServer, pgdata: Path) -> None:
    server = make_server()
    server.start()
    pgdata.parent.chmod(0o700)
    server.stop()
    assert not (pgdata / "postmaster.pid").exists()


def test_a_forked_child_does_not_end_it(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    child = os.fork()
    if child == 0:
        try:
            server.stop()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert answers(server)


def test_what_a_killed_process_left_running_is_taken_over_and_ended(make_server: MakeServer, pgdata: Path) -> None:
    code = "import sys; from pathlib import Path; from app.adapters.embedded_postgres import EmbeddedPostgres; "
    code += "EmbeddedPostgres(Path(sys.argv[1])).start(); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", code, str(pgdata)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    server = make_server()
    assert answers(server)
    server.start()
    assert not server.started_here
    server.stop()
    assert not answers(server)


def test_a_crash_is_recovered_from(make_server: MakeServer, pgdata: Path) -> None:
    server = make_server()
    server.start()
    postmaster = psutil.Process(int((pgdata / "postmaster.pid").read_text().split()[0]))
    postmaster.kill()
    psutil.wait_procs([postmaster])
    server.start()
    assert answers(server)


def test_a_pid_that_went_to_a_stranger_does_not_pass_for_a_server(make_server: MakeServer, pgdata: Path) -> None:
    server = make_server()
    server.start()
    pid_file = (pgdata / "postmaster.pid").read_text().splitlines()
    server.stop()
    (pgdata / "postmaster.pid").write_text("\n".join([str(os.getppid()), *pid_file[1:]]))
    server.start()
    assert answers(server)


def test_an_initdb_that_was_killed_leaves_nothing_in_the_way(make_server: MakeServer, new_pgdata: Path) -> None:
    half_made = new_pgdata.with_name("pgdata.new")
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18")
    server = make_server(new_pgdata)
    server.start()
    assert answers(server)


@pytest.mark.parametrize("name", ["a folder, with 'quotes' & blanks", "long" * 50])
def test_any_path_will_do(make_server: MakeServer, new_pgdata: Path, name: str) -> None:
    server = make_server(new_pgdata.parent / name / "pgdata")
    server.start()
    assert answers(server)


def test_a_folder_of_something_else_is_refused(make_server: MakeServer, new_pgdata: Path) -> None:
    new_pgdata.mkdir()
    (new_pgdata / "holiday.jpg").touch()
    with pytest.raises(StartupError, match="STORAGE_DIR"):
        make_server(new_pgdata).start()
    assert [path.name for path in new_pgdata.iterdir()] == ["holiday.jpg"]


def test_the_data_of_another_postgres_are_refused_with_both_versions(make_server: MakeServer, new_pgdata: Path) -> None:
    new_pgdata.mkdir()
    (new_pgdata / "PG_VERSION").write_text("12\n")
    with pytest.raises(StartupError, match=r"Postgres 12.*Postgres \d+"):
        make_server(new_pgdata).start()


def test_a_server_that_cannot_start_says_why(make_server: MakeServer, new_pgdata: Path) -> None:
    server = make_server(new_pgdata)
    server.start()
    server.stop()
    with (new_pgdata / "postgresql.conf").open("a") as conf:
        conf.write("shared_buffers = nonsense\n")
    with pytest.raises(StartupError, match=r"shared_buffers|postgresql\.conf"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_refused_with_the_owners_name(new_pgdata: Path) -> None:
    new_pgdata.mkdir()
    new_pgdata.parent.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            EmbeddedPostgres(new_pgdata).start()
        except StartupError as error:
            os._exit(0 if "belongs to root" in error.message else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
