"""profile search's own index: faces and documents of profiles"""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = (
    # The contract's Milvus collection as a table. Half precision: an index over a million faces of 512 numbers then
    # takes 1.3 GB and not 2.6, and a similarity moves by some 0.00002. `dimensions` is there to be checked against the
    # spec; a row stays in one piece (toast_tuple_target), as in face_embeddings. The import makes an HNSW index for
    # each spec.
    """
    CREATE TABLE profile_faces (
        id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        spec_id       integer NOT NULL,
        entity_id     text NOT NULL CHECK (entity_id <> ''),
        position      integer NOT NULL CHECK (position >= 0),
        partition_id  text NOT NULL,
        features      halfvec NOT NULL CHECK (l2_norm(features) > 0),
        center        boolean NOT NULL,
        dimensions    integer NOT NULL GENERATED ALWAYS AS (vector_dims(features)) STORED,
        created_at    timestamptz NOT NULL DEFAULT now(),
        FOREIGN KEY (spec_id, dimensions) REFERENCES embedding_specs (id, dimensions),
        UNIQUE (spec_id, entity_id, position)
    ) WITH (toast_tuple_target = 8160)
    """,
    # The contract's MongoDB collection as a table; here an entity has one document.
    """
    CREATE TABLE profile_documents (
        entity_id      text PRIMARY KEY CHECK (entity_id <> ''),
        recognizer_id  text,
        parent_id      text,
        group_id       text,
        metadata       jsonb NOT NULL,
        created_at     timestamptz NOT NULL DEFAULT now(),
        updated_at     timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
