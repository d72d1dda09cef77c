"""Brings the database's schema up to date, by Alembic; SQLAlchemy is loaded here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app.migrations
from app.adapters.postgres import Database, translated_errors
from app.adapters.postgres_errors import MIGRATE, is_circumstance, refused
from app.errors import AppError, StartupError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script
    from sqlalchemy import Connection

MIGRATIONS = Path(app.migrations.__file__).parent

_LOCK = 7_263_947_102_845  # who migrates holds this advisory lock; any number that nobody else uses
_LOCK_TIMEOUT = "120s"


def migrate(database: Database, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is pending, each migration in a transaction of its own; of several starters one does it, others wait.

    :param folder: where Alembic's `env.py` and `versions` lie.
    :return: what was applied, e.g. `["0001 galleries: specs, persons and face embeddings."]`.
    :raises StartupError: a migration failed and was rolled back (those before it stay), or the schema is a newer one.
    :raises StoreUnavailable: the database cannot be reached, or does not let us.
    """
    if _is_newest(database, folder):
        return []
    from alembic import command

    applied: list[str] = []
    with _connected(database) as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        connection.commit()  # the lock belongs to the session and outlasts this
        config = _config(folder)
        config.attributes["connection"] = connection
        config.attributes["on_version_apply"] = lambda step, **_: applied.append(_title(step.up_revision))
        command.upgrade(config, "head")
    return applied


def pending_migrations(database: Database, folder: Path = MIGRATIONS) -> list[str]:
    """What `migrate` would apply, oldest first; changes nothing.

    :raises StartupError: the schema is newer than this version of the service.
    :raises StoreUnavailable: the database cannot be reached.
    """
    if _is_newest(database, folder):
        return []
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with _connected(database) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        newest_first = ScriptDirectory.from_config(_config(folder)).iterate_revisions("head", current or "base")
        return [_title(script) for script in newest_first][::-1]


def require_migrated(database: Database) -> None:
    """Check that the schema is this version's.

    :raises StartupError: it is not, with what to do.
    :raises StoreUnavailable: the database cannot be reached.
    """
    if pending := pending_migrations(database):
        raise StartupError(f"The database is not up to date (pending: {', '.join(pending)}). {MIGRATE}")


def _is_newest(database: Database, folder: Path) -> bool:
    """Whether the last migration in the folder was applied; a start then loads no Alembic, which takes 0.35 s."""
    newest = max((path.name[1:5] for path in folder.glob("versions/m[0-9]*.py")), default=None)
    with translated_errors(), closing(database.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT version_num FROM alembic_version")
        return bool(cursor.fetchall() == [(newest,)])


@contextmanager
def _connected(database: Database) -> Iterator[Connection]:
    from alembic.script.revision import ResolutionError
    from alembic.util import CommandError
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import DBAPIError

    def connect() -> Any:
        connection = database.connect()
        connection.autocommit = False  # SQLAlchemy leaves BEGIN to the driver
        return connection

    engine = create_engine("postgresql+psycopg2://", creator=connect, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as exc:
        raise _failure(exc.orig) from exc
    except (CommandError, ResolutionError) as exc:
        raise StartupError(
            "The database was migrated by a newer version of this service: install that version, or restore a backup."
        ) from exc


def _failure(cause: Any) -> AppError:
    if is_circumstance(cause.pgcode):
        return refused(cause.pgcode)
    return StartupError(f"A migration failed and was rolled back: {cause.diag.message_primary} ({cause.pgcode}).")


def _config(folder: Path) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _title(script: Script) -> str:
    return f"{script.revision} {script.doc}"
