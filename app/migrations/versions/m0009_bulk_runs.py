"""runs of bulk loads and imports, with how far they are"""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    # `total` and `done` count images or faces; `ended` is null while it runs, and stays null where its process died.
    """
    CREATE TABLE bulk_runs (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind        text NOT NULL CHECK (kind IN ('embedding', 'pkl_import')),
        domain      text NOT NULL,
        total       bigint NOT NULL DEFAULT 0,
        done        bigint NOT NULL DEFAULT 0,
        started_at  timestamptz NOT NULL DEFAULT now(),
        updated_at  timestamptz NOT NULL DEFAULT now(),
        ended       text CHECK (ended IN ('done', 'stopped'))
    )
    """,
    "CREATE INDEX bulk_runs_updated ON bulk_runs (updated_at)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in STATEMENTS:
        op.execute(statement)
