"""galleries: specs, persons and face embeddings."""

from alembic import op

revision = "0001"
down_revision = None

# One statement per entry.
STATEMENTS = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """
    CREATE TABLE embedding_specs (
        id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key         text NOT NULL UNIQUE,
        document    jsonb NOT NULL,
        dimensions  integer NOT NULL CHECK (dimensions > 0),
        created_at  timestamptz NOT NULL DEFAULT now(),
        UNIQUE (id, dimensions)
    )
    """,
    """
    CREATE TABLE persons (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        domain      text NOT NULL CHECK (domain <> ''),
        name        text NOT NULL CHECK (name <> ''),
        created_at  timestamptz NOT NULL DEFAULT now(),
        updated_at  timestamptz NOT NULL DEFAULT now(),
        UNIQUE (domain, name),
        UNIQUE (id, domain)
    )
    """,
    # The vector index is partial, so the domain must stand in the row; the foreign key keeps it the person's. It is not
    # called `domain`, because operators join both tables and write `domain` alone. `dimensions` is there to be checked
    # against the spec. A face of 512 numbers takes 2 KiB: kept in the row (toast_tuple_target) and not in the TOAST
    # table, an exact scan takes a third of the time.
    """
    CREATE TABLE face_embeddings (
        id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        person_id      bigint NOT NULL,
        person_domain  text NOT NULL,
        spec_id        integer NOT NULL,
        image          text NOT NULL CHECK (image <> ''),
        image_sha256   text CHECK (image_sha256 ~ '^[0-9a-f]{64}$'),
        box_x          integer NOT NULL,
        box_y          integer NOT NULL,
        box_w          integer NOT NULL,
        box_h          integer NOT NULL,
        embedding      vector NOT NULL CHECK (vector_norm(embedding) > 0),
        dimensions     integer NOT NULL GENERATED ALWAYS AS (vector_dims(embedding)) STORED,
        created_at     timestamptz NOT NULL DEFAULT now(),
        updated_at     timestamptz NOT NULL DEFAULT now(),
        FOREIGN KEY (person_id, person_domain) REFERENCES persons (id, domain) ON UPDATE CASCADE ON DELETE CASCADE,
        FOREIGN KEY (spec_id, dimensions) REFERENCES embedding_specs (id, dimensions),
        UNIQUE (spec_id, person_domain, image, box_x, box_y, box_w, box_h)
    ) WITH (toast_tuple_target = 8160)
    """,
    "CREATE INDEX face_embeddings_scope ON face_embeddings (spec_id, person_domain)",
    # By person for deletions and the exact search among a few persons; the rest lets counts be read from the index.
    "CREATE INDEX face_embeddings_person ON face_embeddings (person_id, spec_id, person_domain)",
)


def upgrade() -> None:
    """Make the tables of both galleries' common ground."""
    for statement in STATEMENTS:
        op.execute(statement)
