"""The SQL of the galleries; values are parameters always, psycopg2 writes them into the statement quoted."""

INDEX_PREFIX = "face_embeddings_hnsw_"

REGISTER_SPEC = """
INSERT INTO embedding_specs (key, document, dimensions) VALUES (%(key)s, %(document)s, %(dimensions)s)
ON CONFLICT (key) DO NOTHING
"""

SPEC_ID = "SELECT id FROM embedding_specs WHERE key = %(key)s"

# Which domain holds faces of which spec; a row for each pair.
HOLDINGS = """
SELECT p.domain, p.persons, s.id, s.key, s.document
FROM (SELECT domain, count(*) AS persons FROM persons GROUP BY domain) AS p
CROSS JOIN embedding_specs AS s
WHERE EXISTS (SELECT FROM face_embeddings AS f WHERE f.spec_id = s.id AND f.person_domain = p.domain)
"""

# The planner's row counts: exact when the index is made, later as of the last ANALYZE.
INDEX_ROWS = """
SELECT c.relname, c.reltuples::bigint
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = 'face_embeddings'::regclass AND i.indisvalid AND starts_with(c.relname, %(prefix)s)
"""

PLANS = """
SELECT p.domain, p.id, p.strategy, p.ef_search, p.max_distance, p.max_template_distance, p.covered_up_to, p.faces,
    p.persons, p.templates, p.retry_margin
FROM search_plans AS p JOIN embedding_specs AS s ON s.id = p.spec_id
WHERE p.active AND s.key = %(key)s
"""

COUNTS = """
SELECT f.person_domain, count(DISTINCT f.person_id), count(*)
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE s.key = %(key)s
GROUP BY f.person_domain
"""

# In one order, so that two scripts that add the same persons wait for each other and do not deadlock.
ADD_PERSONS = """
INSERT INTO persons (domain, name)
SELECT %(domain)s, name FROM unnest(%(names)s::text[]) AS name ORDER BY name
ON CONFLICT (domain, name) DO NOTHING
"""

# Rows that are already as they should be are neither written nor returned.
UPSERT_FACES = """
INSERT INTO face_embeddings AS old
    (person_id, person_domain, spec_id, image, image_sha256, box_x, box_y, box_w, box_h, embedding)
SELECT p.id, p.domain, %(spec_id)s, new.image, new.image_sha256, new.x, new.y, new.w, new.h, new.embedding
FROM unnest(
    %(persons)s::text[], %(images)s::text[], %(hashes)s::text[],
    %(x)s::int[], %(y)s::int[], %(w)s::int[], %(h)s::int[], %(embeddings)s::vector[]
) AS new (person, image, image_sha256, x, y, w, h, embedding)
JOIN persons AS p ON p.domain = %(domain)s AND p.name = new.person
ON CONFLICT (spec_id, person_domain, image, box_x, box_y, box_w, box_h) DO UPDATE
SET person_id = EXCLUDED.person_id, image_sha256 = EXCLUDED.image_sha256, embedding = EXCLUDED.embedding,
    updated_at = now()
WHERE (old.person_id, old.image_sha256, old.embedding)
    IS DISTINCT FROM (EXCLUDED.person_id, EXCLUDED.image_sha256, EXCLUDED.embedding)
RETURNING xmax = 0
"""

# One index per domain and spec: each domain is searched in its own right, whatever lies beside it in the table.
CREATE_INDEX = """
CREATE INDEX IF NOT EXISTS {name} ON face_embeddings
USING hnsw ((embedding::vector(%(dimensions)s)) vector_cosine_ops)
WITH (m = %(m)s, ef_construction = %(ef_construction)s)
WHERE person_domain = %(domain)s AND spec_id = %(spec_id)s
"""

ANALYZE = "ANALYZE face_embeddings"

# JIT compiles for longer than such a search takes. Galleries lie in memory: at the default page costs the planner reads
# all domains to measure one. The cursor is read to where the caller has enough, so it is planned for its first rows. A
# relaxed order also returns what is found late; a strict one would drop it.
SEARCH_SETTINGS = """
SET LOCAL jit = off;
SET LOCAL random_page_cost = 1;
SET LOCAL cursor_tuple_fraction = 0;
SET LOCAL hnsw.ef_search = {ef_search};
SET LOCAL hnsw.iterative_scan = relaxed_order;
SET LOCAL hnsw.max_scan_tuples = 2147483647;
SET LOCAL hnsw.scan_mem_multiplier = 8
"""

OPEN_WALK = """
DECLARE walk NO SCROLL CURSOR FOR
SELECT person_id, embedding::vector(%(dimensions)s) <=> %(probe)s::vector AS distance
FROM face_embeddings
WHERE person_domain = %(domain)s AND spec_id = %(spec_id)s
ORDER BY distance
"""

NEXT_PAGE = "FETCH %(rows)s FROM walk"

CLOSE_WALK = "CLOSE walk"

IN_DOMAIN = "person_domain = %(domain)s AND spec_id = %(spec_id)s"

OF_PERSONS = "person_id = ANY(%(persons)s) AND spec_id = %(spec_id)s"

# Of `near`, the measured faces (id, person_id, distance), the best ones of the best persons.
BEST_OF_NEAR = """
best AS (
    SELECT person_id, min(distance) AS distance FROM near GROUP BY person_id
), last AS (
    SELECT max(distance) AS distance
    FROM (SELECT distance FROM best ORDER BY distance LIMIT %(top)s) AS top
)
SELECT (SELECT name FROM persons WHERE id = best.person_id), face.image, face.embedding
FROM best
JOIN last ON best.distance <= last.distance + %(tie)s
JOIN near ON near.person_id = best.person_id AND near.distance <= best.distance + %(tie)s
CROSS JOIN LATERAL (
    SELECT image, vector_send(embedding) AS embedding FROM face_embeddings WHERE id = near.id OFFSET 0
) AS face
"""

# Without a cast the expression is not the index's: an exact scan. OFFSET 0 keeps the planner from measuring twice and
# from reading the table twice.
_NEAR = """
WITH near AS MATERIALIZED (
    SELECT id, person_id, distance
    FROM (
        SELECT id, person_id, embedding <=> %(probe)s::vector AS distance
        FROM face_embeddings WHERE {scope} OFFSET 0
    ) AS measured
    WHERE distance <= %(max_distance)s
),"""

NEAREST = _NEAR + BEST_OF_NEAR
