"""The SQL of the comparisons; values are parameters always."""

# Who writes holds the first together with others; who takes a name out holds it alone, so that no row with that name
# is on its way meanwhile. The second is held by the one process that deletes what is old. Any numbers of nobody else.
NAMES_LOCK = 7_263_947_102_851
PRUNE_LOCK = 7_263_947_102_852

SHARE_NAMES = f"SELECT pg_advisory_xact_lock_shared({NAMES_LOCK})"
HOLD_NAMES = f"SELECT pg_advisory_xact_lock({NAMES_LOCK})"
TRY_PRUNE = f"SELECT pg_try_advisory_xact_lock({PRUNE_LOCK})"

INSERT = """
INSERT INTO comparisons (
    record_id, request_id, at, domain, spec_key, source, answered_by, faces, pkl_top1, pgvector_top1, pkl_distance,
    pgvector_distance, top1_match, top5_overlap, top5_size, known_flip, pkl_ms, pgvector_ms, verdict, cause, proof,
    details, persons
)
SELECT record_id, request_id, at, domain, spec_key, source, answered_by, faces, pkl_top1, pgvector_top1, pkl_distance,
    pgvector_distance, top1_match, top5_overlap, top5_size, known_flip, pkl_ms, pgvector_ms, verdict, cause, proof,
    details, persons
FROM jsonb_to_recordset(%(rows)s::jsonb) AS new (
    record_id uuid, request_id text, at timestamptz, domain text, spec_key text, source text, answered_by text,
    faces integer, pkl_top1 text, pgvector_top1 text, pkl_distance double precision,
    pgvector_distance double precision, top1_match boolean, top5_overlap integer, top5_size integer, known_flip text,
    pkl_ms double precision, pgvector_ms double precision, verdict text, cause text, proof jsonb, details jsonb,
    persons text[]
)
ON CONFLICT (record_id) DO NOTHING
"""

INSERT_FACE = """
INSERT INTO comparison_faces (comparison_id, face, sealed)
SELECT id, %(face)s, %(sealed)s FROM comparisons WHERE record_id = %(record_id)s
ON CONFLICT (comparison_id, face) DO NOTHING
"""

FACES = "SELECT face, sealed FROM comparison_faces WHERE comparison_id = %(id)s ORDER BY face"

INSERT_LOSS = "INSERT INTO comparison_losses (domain, lost) VALUES (%(domain)s, %(lost)s)"

LOST = """
SELECT coalesce(sum(lost), 0) FROM comparison_losses
WHERE (%(domains)s::text[] IS NULL OR domain = ANY(%(domains)s)) AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
"""

EXPLAIN = """
UPDATE comparisons SET cause = %(cause)s, proof = %(proof)s::jsonb, persons = persons || %(persons)s::text[]
WHERE record_id = %(record_id)s
"""

COLUMNS = """
id, request_id, at, domain, source, answered_by, faces, pkl_top1, pgvector_top1, pkl_distance, pgvector_distance,
top1_match, top5_overlap, top5_size, known_flip, pkl_ms, pgvector_ms, verdict, cause, proof, details, judged,
judged_by, judged_at
"""

LIST = f"""
SELECT {COLUMNS} FROM comparisons
WHERE (%(domains)s::text[] IS NULL OR domain = ANY(%(domains)s))
  AND verdict = ANY(%(verdicts)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
  AND (%(cause)s::text IS NULL OR coalesce(cause, 'pending') = %(cause)s)
  AND (%(judged)s::boolean IS NULL OR (judged IS NOT NULL) = %(judged)s)
  AND (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 (columns of ours, no value)

ONE = f"""
SELECT {COLUMNS} FROM comparisons
WHERE id = %(id)s AND (%(domains)s::text[] IS NULL OR domain = ANY(%(domains)s))
"""  # noqa: S608 (columns of ours, no value)

JUDGE = """
UPDATE comparisons SET judged = %(judged)s, judged_by = %(judged_by)s, judged_at = now()
WHERE id = %(id)s AND domain = %(domain)s AND verdict <> 'agree'
"""

DELETE_OLD = """
DELETE FROM comparisons WHERE id IN (
    SELECT id FROM comparisons WHERE at < now() - make_interval(days => %(days)s) ORDER BY at LIMIT %(rows)s
)
"""

DELETE_OLD_LOSSES = "DELETE FROM comparison_losses WHERE at < now() - make_interval(days => %(days)s)"

# --- persons

RENAME = """
UPDATE comparisons SET
    pkl_top1 = CASE WHEN pkl_top1 = %(old)s THEN %(new)s ELSE pkl_top1 END,
    pgvector_top1 = CASE WHEN pgvector_top1 = %(old)s THEN %(new)s ELSE pgvector_top1 END,
    details = rename_in_comparison(details, %(old)s, %(new)s, %(paths)s::jsonb),
    proof = rename_in_comparison(proof, %(old)s, %(new)s, %(paths)s::jsonb),
    persons = array_replace(persons, %(old)s, %(new)s)
WHERE domain = %(domain)s AND persons @> ARRAY[%(old)s]
"""

DELETE_FACES_OF = """
DELETE FROM comparison_faces AS f USING comparisons AS c
WHERE f.comparison_id = c.id AND c.domain = %(domain)s AND c.persons @> ARRAY[%(old)s]
"""

# Who of those that a batch names is still enrolled.
KNOWN = "SELECT name FROM persons WHERE domain = %(domain)s AND name = ANY(%(names)s)"

# What a person has in the database, of one spec.
FACES_OF_PERSONS = """
SELECT p.name, f.image, vector_send(f.embedding), f.updated_at
FROM persons AS p
JOIN face_embeddings AS f ON f.person_id = p.id
JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE p.domain = %(domain)s AND s.key = %(spec_key)s AND p.name = ANY(%(names)s)
"""

FACES_OF_IMAGES = """
SELECT f.image, vector_send(f.embedding)
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE f.person_domain = %(domain)s AND s.key = %(spec_key)s AND f.image = ANY(%(images)s)
"""
