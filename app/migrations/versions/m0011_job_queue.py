"""the queue of video jobs, by procrastinate"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

_SCHEMA = "procrastinate"


def upgrade() -> None:
    """Make procrastinate's own tables and functions in a schema of their own, from the installed package's file.

    The schema's comment says which version that was: the migration that comes with a later version of the package
    finds there which of the package's migrations it has to apply.
    """
    cursor = op.get_bind().connection.cursor()
    cursor.execute(f"CREATE SCHEMA {_SCHEMA}")
    cursor.execute(f"COMMENT ON SCHEMA {_SCHEMA} IS 'procrastinate {version('procrastinate')}'")
    cursor.execute(f"SET LOCAL search_path = {_SCHEMA}")
    cursor.execute(_package_file().read_text(encoding="utf-8"))
    cursor.execute("SET LOCAL search_path = DEFAULT")


def _package_file() -> Path:
    """Found without importing the package, which the service does in one module only."""
    spec = find_spec(_SCHEMA)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("procrastinate is not installed: pip install -r requirements-core.txt")
    return Path(spec.submodule_search_locations[0]) / "sql" / "schema.sql"
