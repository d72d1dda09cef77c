"""person twins"""

from alembic import op

revision = "0007"
down_revision = "0006"

# Pairs that somebody looked at and found to be two persons: they are not suggested again.
STATEMENTS = (
    """
    CREATE TABLE person_twin_dismissals (
        first_id      bigint NOT NULL REFERENCES persons (id) ON DELETE CASCADE,
        second_id     bigint NOT NULL REFERENCES persons (id) ON DELETE CASCADE,
        dismissed_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (first_id, second_id),
        CHECK (first_id < second_id)
    )
    """,
    "CREATE INDEX person_twin_dismissals_second ON person_twin_dismissals (second_id)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in STATEMENTS:
        op.execute(statement)
