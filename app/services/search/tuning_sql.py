"""The SQL by which search plans are made; values are parameters always."""

MARK = "SELECT coalesce(pg_sequence_last_value('face_revisions'), 0)"

# Who may hold a revision that is not to be seen yet. A statement has its lock before it takes one from the sequence,
# and the transaction keeps it to its end. Its transaction id may come later, so snapshots do not tell as much.
WRITERS = """
SELECT DISTINCT virtualtransaction
FROM pg_locks
WHERE locktype = 'relation' AND relation = 'face_embeddings'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND granted AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND pid IS DISTINCT FROM pg_backend_pid()
"""

_SCOPE = "spec_id = %(spec_id)s AND person_domain = %(domain)s AND revision <= %(mark)s"

FACES_BY_PERSON = f"""
SELECT person_id, count(*) FROM face_embeddings WHERE {_SCOPE} GROUP BY person_id ORDER BY person_id
"""  # noqa: S608 -- a constant of this module

FACES = f"""
SELECT person_id, vector_send(embedding)
FROM face_embeddings
WHERE person_id = ANY(%(persons)s::bigint[]) AND {_SCOPE}
ORDER BY person_id, id
"""  # noqa: S608 -- a constant of this module

NAMES = "SELECT id, name FROM persons WHERE id = ANY(%(persons)s::bigint[])"

# One for all domains: two that build an index on the one table of templates would wait for each other.
LOCK = "SELECT pg_try_advisory_lock(hashtextextended('search plans', 0))"

UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('search plans', 0))"

ADD_PLAN = """
INSERT INTO search_plans
    (domain, spec_id, strategy, ef_search, max_distance, max_template_distance, covered_up_to, faces, persons,
     templates)
VALUES (%(domain)s, %(spec_id)s, 'templates', 1, %(max_distance)s, 0, %(mark)s, %(faces)s, %(persons)s, 0)
RETURNING id
"""

# A person who is deleted meanwhile is left out, and one who is about to be is waited for.
ADD_TEMPLATES = """
INSERT INTO person_templates (plan_id, person_id, embedding)
SELECT %(plan_id)s, p.id, new.embedding
FROM unnest(%(persons)s::bigint[], %(embeddings)s::halfvec[]) AS new (person_id, embedding)
JOIN persons AS p ON p.id = new.person_id
FOR KEY SHARE OF p
"""

CREATE_INDEX = """
CREATE INDEX CONCURRENTLY {name} ON person_templates
USING hnsw ((embedding::halfvec(%(dimensions)s)) halfvec_cosine_ops)
WITH (m = %(m)s, ef_construction = %(ef_construction)s)
WHERE plan_id = %(plan_id)s
"""

ANALYZE = "ANALYZE person_templates"

DEACTIVATE = "UPDATE search_plans SET active = false WHERE domain = %(domain)s AND spec_id = %(spec_id)s AND active"

ACTIVATE = """
UPDATE search_plans
SET strategy = %(strategy)s, ef_search = %(ef_search)s, max_template_distance = %(max_template_distance)s,
    templates = %(templates)s, retry_margin = %(retry_margin)s, probes = %(probes)s,
    recall_top1 = %(top1)s, recall_top1_low = %(top1_low)s, recall_top1_high = %(top1_high)s,
    recall_top5 = %(top5)s, recall_top5_low = %(top5_low)s, recall_top5_high = %(top5_high)s,
    search_p50_ms = %(search_p50_ms)s, met = %(met)s, measured_at = now(), active = true
WHERE id = %(plan_id)s
"""

# What a plan that does not search by templates does not need.
DELETE_TEMPLATES = "DELETE FROM person_templates WHERE plan_id = %(plan_id)s"

OTHER_PLANS = """
SELECT id FROM search_plans
WHERE domain = %(domain)s AND spec_id = %(spec_id)s AND NOT active
"""

DELETE_PLAN = "DELETE FROM search_plans WHERE id = %(plan_id)s"

DROP_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS {name}"

IMAGE_INDEX_EXISTS = """
SELECT EXISTS (
    SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'face_embeddings'::regclass AND i.indisvalid AND c.relname = %(name)s
)
"""
