"""The SQL of the bulk load; rows come by COPY, in the columns of COLUMNS and the format of `binary_copy`."""

COLUMNS = "image, image_sha256, person_id, person_domain, spec_id, box_x, box_y, box_w, box_h, embedding"

PERSON_IDS = "SELECT name, id FROM persons WHERE domain = %(domain)s AND name = ANY(%(names)s)"

# A row of 512 numbers stays in one piece (see the migration that makes face_embeddings).
CREATE_STAGING = """
CREATE TEMPORARY TABLE incoming_faces (
    image text, image_sha256 text, person_id bigint, person_domain text, spec_id integer,
    box_x integer, box_y integer, box_w integer, box_h integer, embedding vector
) WITH (toast_tuple_target = 8160) ON COMMIT DROP
"""

COPY_STAGING = f"COPY incoming_faces ({COLUMNS}) FROM STDIN WITH (FORMAT binary)"

# One transaction may load several times.
DROP_STAGING = "DROP TABLE incoming_faces"

# Rows that are already as they should be are not written. Whoever does not know the image's hash leaves it as it is,
# as long as the vector is the same: it tells which images need not be embedded again.
UPSERT_STAGING = f"""
WITH written AS (
    INSERT INTO face_embeddings AS old ({COLUMNS})
    SELECT {COLUMNS} FROM incoming_faces
    ON CONFLICT (spec_id, person_domain, image, box_x, box_y, box_w, box_h) DO UPDATE
    SET person_id = EXCLUDED.person_id, embedding = EXCLUDED.embedding, updated_at = now(),
        image_sha256 = CASE WHEN old.embedding = EXCLUDED.embedding
            THEN coalesce(EXCLUDED.image_sha256, old.image_sha256) ELSE EXCLUDED.image_sha256 END
    WHERE (old.person_id, old.embedding) IS DISTINCT FROM (EXCLUDED.person_id, EXCLUDED.embedding)
        OR (EXCLUDED.image_sha256 IS NOT NULL AND old.image_sha256 IS DISTINCT FROM EXCLUDED.image_sha256)
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written
"""  # noqa: S608 -- COLUMNS is a constant
