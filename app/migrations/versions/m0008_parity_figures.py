"""the parity report's figures from an index"""

from alembic import op

revision = "0008"
down_revision = "0007"

# A report reads a few short columns of up to millions of rows, whose persons and details make them thirty times as
# long: an index that has these columns spares it the table. It also does what the index it replaces did.
STATEMENTS = (
    """
    CREATE INDEX comparisons_figures ON comparisons (domain, at) INCLUDE (
        source, spec_key, answered_by, verdict, top1_match, top5_overlap, top5_size, known_flip, pkl_ms, pgvector_ms
    )
    """,
    "DROP INDEX comparisons_domain_at",
    # Without these, Postgres takes every row to be of an hour of its own, and sorts them all.
    "CREATE STATISTICS comparisons_hours ON (date_bin('1 hour', at, 'epoch')) FROM comparisons",
    # The photos of a run of a replay, to go on where it stopped.
    "CREATE INDEX comparisons_replays ON comparisons (request_id text_pattern_ops) WHERE source = 'replay'",
)


def upgrade() -> None:
    """Make the indexes and the statistics."""
    for statement in STATEMENTS:
        op.execute(statement)
