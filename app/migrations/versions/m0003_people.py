"""people"""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # One row per change that is also in a gallery's journal, written in the change's own transaction: after a crash it
    # tells whether the change happened. `aborted` is written by whoever looked and found nothing.
    """
    CREATE TABLE gallery_changes (
        id          uuid PRIMARY KEY,
        domain      text NOT NULL,
        aborted     boolean NOT NULL,
        decided_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE person_merges (
        id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        target_id    bigint NOT NULL REFERENCES persons (id) ON DELETE CASCADE,
        source_name  text NOT NULL,
        merged_at    timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX person_merges_target ON person_merges (target_id)",
    """
    CREATE TABLE person_merge_images (
        merge_id      bigint NOT NULL REFERENCES person_merges (id) ON DELETE CASCADE,
        image         text NOT NULL,
        image_before  text NOT NULL,
        PRIMARY KEY (merge_id, image)
    )
    """,
    """
    CREATE TABLE audit_log (
        id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at       timestamptz NOT NULL DEFAULT now(),
        actor    text NOT NULL,
        domain   text NOT NULL,
        action   text NOT NULL,
        subject  text NOT NULL,
        counts   jsonb NOT NULL
    )
    """,
    "CREATE INDEX audit_log_domain_at ON audit_log (domain, at)",
    """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit_log is append-only';
    END
    $$
    """,
    """
    CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """,
    """
    CREATE TABLE deletion_receipts (
        id            uuid PRIMARY KEY,
        domain        text NOT NULL,
        deleted_at    timestamptz NOT NULL DEFAULT now(),
        actor         text NOT NULL,
        counts        jsonb NOT NULL,
        completed_at  timestamptz
    )
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
