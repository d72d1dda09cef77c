"""gallery mirrors"""

from alembic import op

revision = "0005"
down_revision = "0004"

TRIGGERS = {"insert": "NEW", "update": "NEW", "delete": "OLD"}  # and where a trigger finds what changed

# A mirror is an index of one spec's faces outside of Postgres (Milvus). What changes in face_embeddings is noted in its
# outbox by the change's own transaction, whichever way the change comes, so that none can be lost on its way there.
STATEMENTS = (
    """
    CREATE TABLE gallery_mirrors (
        id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        collection   text NOT NULL CHECK (collection <> ''),
        spec_id      integer NOT NULL REFERENCES embedding_specs (id),
        copied_to    bigint DEFAULT 0,
        complete_at  timestamptz,
        UNIQUE (collection, spec_id)
    )
    """,
    # A face stands here once for each change; `applied_at` is when the mirror took it over.
    """
    CREATE TABLE mirror_outbox (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        mirror_id   integer NOT NULL REFERENCES gallery_mirrors (id) ON DELETE CASCADE,
        face_id     bigint NOT NULL,
        queued_at   timestamptz NOT NULL DEFAULT now(),
        applied_at  timestamptz
    )
    """,
    "CREATE INDEX mirror_outbox_waiting ON mirror_outbox (mirror_id, id) WHERE applied_at IS NULL",
    "CREATE INDEX mirror_outbox_applied ON mirror_outbox (mirror_id, applied_at) WHERE applied_at IS NOT NULL",
    """
    CREATE FUNCTION note_for_mirrors() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO mirror_outbox (mirror_id, face_id)
        SELECT m.id, c.id FROM changed AS c JOIN gallery_mirrors AS m ON m.spec_id = c.spec_id;
        RETURN NULL;
    END
    $$
    """,
    *(
        f"""
        CREATE TRIGGER face_embeddings_mirror_{event} AFTER {event} ON face_embeddings
        REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_for_mirrors()
        """
        for event, rows in TRIGGERS.items()
    ),
    # Off until a mirror is registered: a trigger that sees the rows costs a bulk load a copy of each.
    *(f"ALTER TABLE face_embeddings DISABLE TRIGGER face_embeddings_mirror_{event}" for event in TRIGGERS),
)


def upgrade() -> None:
    """Make the tables and the triggers."""
    for statement in STATEMENTS:
        op.execute(statement)
