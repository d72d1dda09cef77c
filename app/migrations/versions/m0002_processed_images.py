"""processed images"""

from alembic import op

revision = "0002"
down_revision = "0001"

# `person` is what the path says, so that whoever deletes a person finds the rows of images without a face too. A row
# without a hash is of a file that could not be opened: it is looked at again each time.
STATEMENTS = (
    """
    CREATE TABLE processed_images (
        id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        spec_id         integer NOT NULL REFERENCES embedding_specs (id),
        domain          text NOT NULL CHECK (domain <> ''),
        path            text NOT NULL CHECK (path <> ''),
        person          text NOT NULL,
        content_sha256  text CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
        size_bytes      bigint NOT NULL,
        mtime_ns        bigint NOT NULL,
        outcome         text NOT NULL
            CHECK (outcome IN ('done', 'no_face', 'unreadable', 'several_faces', 'too_small', 'failed')),
        reason          text,
        policy          text NOT NULL CHECK (policy IN ('largest', 'all', 'skip')),
        faces_found     integer NOT NULL,
        faces_stored    integer NOT NULL,
        processed_at    timestamptz NOT NULL DEFAULT now(),
        CHECK ((outcome = 'done') = (reason IS NULL) AND (outcome = 'done') = (faces_stored > 0)),
        UNIQUE (spec_id, domain, path)
    )
    """,
    "CREATE INDEX processed_images_person ON processed_images (domain, person)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in STATEMENTS:
        op.execute(statement)
