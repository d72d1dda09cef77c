"""The questions of the acceptance test; `spec` is the id of the spec in use."""

VERSIONS = """
SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'vector')
"""

SPECS_BY_DOMAIN = """
SELECT f.person_domain, s.key, count(*)
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
GROUP BY f.person_domain, s.key
"""

# Foreign keys forbid both; a dump that was restored without them brings them all the same.
ORPHANS = """
SELECT count(*)
FROM face_embeddings AS f
WHERE NOT EXISTS (SELECT FROM persons AS p WHERE p.id = f.person_id AND p.domain = f.person_domain)
    OR NOT EXISTS (SELECT FROM embedding_specs AS s WHERE s.id = f.spec_id)
"""

# Read from the table: an index that was damaged, or that a collation of another system sorts, may not show them.
DUPLICATES = """
SELECT coalesce(sum(copies - 1), 0)
FROM (
    SELECT count(*) AS copies
    FROM face_embeddings
    GROUP BY spec_id, person_domain, image, box_x, box_y, box_w, box_h
    HAVING count(*) > 1
) AS repeated
"""

SHARED_VECTORS = """
SELECT count(*)
FROM (
    SELECT 1
    FROM face_embeddings
    GROUP BY spec_id, person_domain, sha256(vector_send(embedding))
    HAVING count(DISTINCT person_id) > 1
) AS shared
"""

WRONG_DIMENSIONS = """
SELECT count(*)
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE vector_dims(f.embedding) <> s.dimensions
"""

UNUSABLE_VECTORS = """
SELECT count(*)
FROM face_embeddings
WHERE NOT (vector_norm(embedding) > 0 AND vector_norm(embedding) < 'infinity'::float8)
"""

PERSONS_WITHOUT_FACES = """
SELECT count(*)
FROM persons AS p
WHERE NOT EXISTS (SELECT FROM face_embeddings AS f WHERE f.person_id = p.id)
"""

RANDOM_PROBES = """
SELECT vector_send(embedding)
FROM face_embeddings
WHERE id IN (
    SELECT id FROM face_embeddings
    WHERE person_domain = %(domain)s AND spec_id = (SELECT id FROM embedding_specs WHERE key = %(key)s)
    ORDER BY random() LIMIT %(probes)s
)
"""

VECTOR_INDEX_ROWS = """
SELECT c.reltuples::bigint
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid IN ('face_embeddings'::regclass, 'person_templates'::regclass) AND i.indisvalid
    AND c.relname = %(name)s
"""
