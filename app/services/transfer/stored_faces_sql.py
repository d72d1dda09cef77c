"""The SQL that reads a domain's faces out of the database, page by page, and removes some of them."""

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"

# `content` is the vector, or what stands for it.
PAGE = """
SELECT f.id, p.name, f.image, f.box_x, f.box_y, f.box_w, f.box_h, f.image_sha256, {content}
FROM face_embeddings AS f JOIN persons AS p ON p.id = f.person_id
WHERE f.spec_id = (SELECT id FROM embedding_specs WHERE key = %(key)s)
    AND f.person_domain = %(domain)s AND f.id > %(after)s
ORDER BY f.id LIMIT %(rows)s
"""

VECTOR = "vector_send(f.embedding)"

DIGEST = "sha256(vector_send(f.embedding))"

# A person of whom nothing is left goes too.
REMOVE = """
WITH removed AS (
    DELETE FROM face_embeddings AS f
    USING unnest(%(images)s::text[], %(x)s::int[], %(y)s::int[], %(w)s::int[], %(h)s::int[]) AS gone (image, x, y, w, h)
    WHERE f.spec_id = (SELECT id FROM embedding_specs WHERE key = %(key)s) AND f.person_domain = %(domain)s
        AND (f.image, f.box_x, f.box_y, f.box_w, f.box_h) = (gone.image, gone.x, gone.y, gone.w, gone.h)
    RETURNING f.id, f.person_id
), emptied AS (
    DELETE FROM persons AS p
    WHERE p.id IN (SELECT person_id FROM removed)
        AND NOT EXISTS (
            SELECT FROM face_embeddings AS f
            WHERE f.person_id = p.id AND f.id NOT IN (SELECT id FROM removed)
        )
)
SELECT count(*) FROM removed
"""
