"""The SQL of the profile index in Postgres; values are parameters always, psycopg2 writes them into the statement."""

INDEX_PREFIX = "profile_faces_hnsw_"

# Each spec that has faces, and how many its index holds: exact when it is made, later as of the last ANALYZE.
HOLDINGS = """
SELECT s.id, s.key, s.document, (
    SELECT c.reltuples::bigint
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'profile_faces'::regclass AND i.indisvalid AND c.relname = %(prefix)s || s.key
)
FROM embedding_specs AS s
WHERE EXISTS (SELECT FROM profile_faces AS f WHERE f.spec_id = s.id)
"""

# As in the galleries' searches: JIT compiles for longer than a search takes, and the index lies in memory.
SEARCH_SETTINGS = """
SET LOCAL jit = off;
SET LOCAL random_page_cost = 1;
SET LOCAL hnsw.ef_search = {ef_search};
SET LOCAL hnsw.iterative_scan = strict_order;
SET LOCAL hnsw.max_scan_tuples = 2147483647
"""

# All probes in one statement. They come as an array of vectors: a text would be read anew for every face. `spec_id` is
# written into the statement as a number, so that the planner finds the partial index.
_NEAREST = """
SELECT probe.place, hit.entity_id, 1 - hit.distance
FROM unnest(%(probes)s::halfvec[]) WITH ORDINALITY AS probe (vector, place)
CROSS JOIN LATERAL (
    SELECT entity_id, {features} <=> probe.vector AS distance
    FROM profile_faces WHERE spec_id = %(spec_id)s
    ORDER BY distance LIMIT %(rows)s
) AS hit
ORDER BY probe.place, hit.distance, hit.entity_id
"""

BY_INDEX = _NEAREST.replace("{features}", "features::halfvec(%(dimensions)s)")

MEASURED = _NEAREST.replace("{features}", "features")  # without a cast it is not the index's expression

CREATE_INDEX = """
CREATE INDEX IF NOT EXISTS {name} ON profile_faces
USING hnsw ((features::halfvec(%(dimensions)s)) halfvec_cosine_ops)
WITH (m = %(m)s, ef_construction = %(ef_construction)s)
WHERE spec_id = %(spec_id)s
"""

ANALYZE = "ANALYZE profile_faces, profile_documents"

WITH_FACES = """
SELECT DISTINCT entity_id FROM profile_faces WHERE spec_id = %(spec_id)s AND entity_id = ANY(%(entities)s)
"""

DELETE_FACES = "DELETE FROM profile_faces WHERE spec_id = %(spec_id)s AND entity_id = ANY(%(entities)s)"

# A row of a few kilobytes stays in one piece, as in profile_faces.
CREATE_STAGING = """
CREATE TEMPORARY TABLE incoming_profile_faces (
    entity_id text, position integer, partition_id text, features halfvec, center boolean
) WITH (toast_tuple_target = 8160) ON COMMIT DROP
"""

COPY_STAGING = """
COPY incoming_profile_faces (entity_id, position, partition_id, features, center) FROM STDIN WITH (FORMAT binary)
"""

# Another import may have written the same entity in between.
INSERT_STAGED = """
INSERT INTO profile_faces (spec_id, entity_id, position, partition_id, features, center)
SELECT %(spec_id)s, entity_id, position, partition_id, features, center FROM incoming_profile_faces
ON CONFLICT (spec_id, entity_id, position) DO UPDATE SET features = EXCLUDED.features, center = EXCLUDED.center
"""

COUNT_FACES = "SELECT count(*) FROM profile_faces WHERE spec_id = %(spec_id)s"

# In the order of a digest: from all over the index, and the same ones each time.
SAMPLE = """
SELECT entity_id, position, center, vector_send(features::vector)
FROM profile_faces WHERE spec_id = %(spec_id)s
ORDER BY hashint8(id), id LIMIT %(rows)s
"""

METADATA = """
SELECT entity_id, metadata FROM profile_documents WHERE entity_id = ANY(%(entities)s)
"""

WITH_DOCUMENTS = "SELECT entity_id FROM profile_documents WHERE entity_id = ANY(%(entities)s)"

UPSERT_DOCUMENTS = """
INSERT INTO profile_documents (entity_id, recognizer_id, parent_id, group_id, metadata)
SELECT *
FROM unnest(
    %(entities)s::text[], %(recognizers)s::text[], %(parents)s::text[], %(groups)s::text[], %(metadata)s::jsonb[]
)
ON CONFLICT (entity_id) DO UPDATE
SET recognizer_id = EXCLUDED.recognizer_id, parent_id = EXCLUDED.parent_id,
    group_id = EXCLUDED.group_id, metadata = EXCLUDED.metadata, updated_at = now()
"""

COUNT_DOCUMENTS = "SELECT count(*) FROM profile_documents"

PING = "SELECT FROM profile_documents LIMIT 1"
