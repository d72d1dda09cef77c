"""The SQL of the mirror: its registration, its outbox, the copy, and what a search asks of Postgres."""

TRIGGERS = tuple(f"face_embeddings_mirror_{event}" for event in ("insert", "update", "delete"))

REGISTER = """
INSERT INTO gallery_mirrors (collection, spec_id) VALUES (%(collection)s, %(spec_id)s)
ON CONFLICT (collection, spec_id) DO NOTHING
"""

# It waits for the writers at work and keeps others out for a moment: whoever writes afterwards is noted.
ENABLE_TRIGGERS = "; ".join(f"ALTER TABLE face_embeddings ENABLE TRIGGER {name}" for name in TRIGGERS)

DISABLE_TRIGGERS = "; ".join(f"ALTER TABLE face_embeddings DISABLE TRIGGER {name}" for name in TRIGGERS)

MIRROR = """
SELECT m.id, m.spec_id, m.copied_to, m.complete_at IS NOT NULL
FROM gallery_mirrors AS m JOIN embedding_specs AS s ON s.id = m.spec_id
WHERE m.collection = %(collection)s AND s.key = %(key)s
"""

RETIRE = "DELETE FROM gallery_mirrors WHERE id = %(mirror_id)s"

MIRRORS = "SELECT count(*) FROM gallery_mirrors"

# Whoever writes to the mirror holds this, from reading Postgres until the mirror has what was read: else an older state
# could arrive there after a newer one.
LOCK = "SELECT pg_advisory_xact_lock(%(space)s, %(mirror_id)s)"

WAITING = """
SELECT id, face_id FROM mirror_outbox WHERE mirror_id = %(mirror_id)s AND applied_at IS NULL ORDER BY id LIMIT %(rows)s
"""

MARK_APPLIED = "UPDATE mirror_outbox SET applied_at = clock_timestamp() WHERE id = ANY(%(ids)s::bigint[])"

FORGET_APPLIED = """
DELETE FROM mirror_outbox
WHERE mirror_id = %(mirror_id)s AND applied_at < now() - make_interval(secs => %(visible_after_s)s)
"""

BACKLOG = """
SELECT count(*) FROM (
    SELECT FROM mirror_outbox WHERE mirror_id = %(mirror_id)s AND applied_at IS NULL LIMIT %(rows)s
) AS waiting
"""

_FACE = "SELECT id, person_domain, person_id, vector_send(embedding) FROM face_embeddings WHERE spec_id = %(spec_id)s"

FACES = f"{_FACE} AND id = ANY(%(faces)s::bigint[])"

PAGE = f"{_FACE} AND id > %(after)s ORDER BY id LIMIT %(rows)s"

# NULL: there is nothing left to copy; the first time, that makes the mirror complete.
COPIED_TO = """
UPDATE gallery_mirrors
SET copied_to = %(copied_to)s::bigint,
    complete_at = CASE WHEN %(copied_to)s::bigint IS NULL THEN coalesce(complete_at, now()) ELSE complete_at END
WHERE id = %(mirror_id)s
"""

# A mirror that was lost, or is to be copied anew, is not searched until it is complete again.
RESTART = "UPDATE gallery_mirrors SET copied_to = 0, complete_at = NULL WHERE id = %(mirror_id)s"

TO_BRING = """
SELECT (SELECT count(*) FROM mirror_outbox AS o WHERE o.mirror_id = m.id AND o.applied_at IS NULL)
    + (SELECT count(*) FROM face_embeddings AS f WHERE f.spec_id = m.spec_id AND f.id > m.copied_to)
FROM gallery_mirrors AS m WHERE m.id = %(mirror_id)s
"""

FACE_IDS = """
SELECT id FROM face_embeddings
WHERE spec_id = %(spec_id)s AND id > %(after)s AND (%(domain)s::text IS NULL OR person_domain = %(domain)s::text)
ORDER BY id LIMIT %(rows)s
"""

# Those of the domain that the mirror does not show yet, or may not show yet to every reader.
UNSEEN = """
SELECT DISTINCT f.id
FROM mirror_outbox AS o JOIN face_embeddings AS f ON f.id = o.face_id
WHERE o.mirror_id = %(mirror_id)s AND f.person_domain = %(domain)s AND f.spec_id = %(spec_id)s LIMIT %(rows)s
"""

# JIT compiles for longer than such a search takes; the planner must not prefer a scan of all domains to some lookups.
MEASURING = "SET LOCAL jit = off; SET LOCAL random_page_cost = 1"

# What `vector_db_sql.NEAREST` measures here: all images of the persons whom the found faces belong to now, and the
# faces that the mirror cannot have found. Arrays, and not a join, so that both sides of OR are looked up by index.
FOUND_OR_UNSEEN = """
spec_id = %(spec_id)s AND person_domain = %(domain)s AND (
    id = ANY(%(unseen)s::bigint[])
    OR person_id = ANY(ARRAY(SELECT f.person_id FROM face_embeddings AS f WHERE f.id = ANY(%(found)s::bigint[])))
)
"""
