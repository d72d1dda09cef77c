"""comparisons of both galleries' answers"""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # `record_id` is made by who compares, so that a batch whose COMMIT was lost can be written again without doubles.
    # `top1_match` and what follows are null where one gallery gave no answer: nothing was compared. `persons` repeats
    # the names within `details` and `proof`, so that whoever deletes or renames a person finds the rows.
    """
    CREATE TABLE comparisons (
        id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        record_id          uuid NOT NULL UNIQUE,
        request_id         text NOT NULL,
        at                 timestamptz NOT NULL,
        domain             text NOT NULL,
        spec_key           text NOT NULL,
        source             text NOT NULL CHECK (source IN ('live', 'replay')),
        answered_by        text NOT NULL CHECK (answered_by IN ('pkl', 'pgvector')),
        faces              integer NOT NULL,
        pkl_top1           text,
        pgvector_top1      text,
        pkl_distance       double precision,
        pgvector_distance  double precision,
        top1_match         boolean,
        top5_overlap       integer,
        top5_size          integer,
        known_flip         text CHECK (known_flip IN ('lost', 'gained')),
        pkl_ms             double precision,
        pgvector_ms        double precision,
        verdict            text NOT NULL CHECK (verdict IN ('agree', 'differ', 'candidate_failed')),
        cause              text CHECK (cause IN (
            'unexplained', 'candidate_error', 'candidate_timeout', 'spec_mismatch', 'gallery_drift', 'ann_miss',
            'threshold_edge', 'tie'
        )),
        proof              jsonb,
        details            jsonb NOT NULL,
        persons            text[] NOT NULL,
        judged             text CHECK (judged IN ('pkl', 'pgvector', 'both', 'neither')),
        judged_by          text,
        judged_at          timestamptz,
        CHECK ((verdict = 'candidate_failed') = (top1_match IS NULL)),
        CHECK ((judged IS NULL) = (judged_by IS NULL) AND (judged IS NULL) = (judged_at IS NULL))
    )
    """,
    "CREATE INDEX comparisons_domain_at ON comparisons (domain, at)",
    "CREATE INDEX comparisons_at ON comparisons (at)",
    "CREATE INDEX comparisons_discrepancies ON comparisons (domain, id DESC) WHERE verdict <> 'agree'",
    "CREATE INDEX comparisons_persons ON comparisons USING gin (persons)",
    # Sealed with PARITY_KEY; only with PARITY_KEEP_FACES=true.
    """
    CREATE TABLE comparison_faces (
        comparison_id  bigint NOT NULL REFERENCES comparisons (id) ON DELETE CASCADE,
        face           integer NOT NULL,
        sealed         bytea NOT NULL,
        PRIMARY KEY (comparison_id, face)
    )
    """,
    # Comparisons that were made and could not be written, noted as soon as the database could be written again.
    """
    CREATE TABLE comparison_losses (
        id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at      timestamptz NOT NULL DEFAULT now(),
        domain  text NOT NULL,
        lost    integer NOT NULL CHECK (lost > 0)
    )
    """,
    "CREATE INDEX comparison_losses_at ON comparison_losses (at)",
    # Gives a person another name, and their images other paths (null where `paths` has none), wherever in a document
    # an object says {"name": ..., "image": ...}.
    """
    CREATE FUNCTION rename_in_comparison(document jsonb, old text, new text, paths jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        renamed jsonb;
    BEGIN
        IF jsonb_typeof(document) = 'array' THEN
            SELECT coalesce(jsonb_agg(rename_in_comparison(item, old, new, paths) ORDER BY place), '[]')
            INTO renamed FROM jsonb_array_elements(document) WITH ORDINALITY AS items (item, place);
            RETURN renamed;
        ELSIF jsonb_typeof(document) = 'object' THEN
            SELECT coalesce(jsonb_object_agg(key, rename_in_comparison(value, old, new, paths)), '{}')
            INTO renamed FROM jsonb_each(document);
            IF document ->> 'name' = old THEN
                renamed := renamed || jsonb_build_object('name', new, 'image', paths ->> (document ->> 'image'));
            END IF;
            RETURN renamed;
        END IF;
        RETURN document;
    END
    $$
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
