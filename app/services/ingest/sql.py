"""The SQL of the bulk embedding; values are parameters always."""

RECORDS = """
SELECT path, size_bytes, mtime_ns, content_sha256, outcome, reason, policy, faces_found, faces_stored
FROM processed_images
WHERE spec_id = (SELECT id FROM embedding_specs WHERE key = %(key)s) AND domain = %(domain)s
"""

UPSERT_RECORDS = """
INSERT INTO processed_images
    (spec_id, domain, path, person, size_bytes, mtime_ns, content_sha256, outcome, reason, policy, faces_found,
     faces_stored)
SELECT %(spec_id)s, %(domain)s, new.*
FROM unnest(
    %(path)s::text[], %(person)s::text[], %(size_bytes)s::bigint[], %(mtime_ns)s::bigint[],
    %(content_sha256)s::text[], %(outcome)s::text[], %(reason)s::text[], %(policy)s::text[], %(faces_found)s::int[],
    %(faces_stored)s::int[]
) AS new
ON CONFLICT (spec_id, domain, path) DO UPDATE
SET person = EXCLUDED.person, size_bytes = EXCLUDED.size_bytes, mtime_ns = EXCLUDED.mtime_ns,
    content_sha256 = EXCLUDED.content_sha256, outcome = EXCLUDED.outcome, reason = EXCLUDED.reason,
    policy = EXCLUDED.policy, faces_found = EXCLUDED.faces_found, faces_stored = EXCLUDED.faces_stored,
    processed_at = now()
"""

# Of a changed image, or under another policy, some faces are no longer there. Those that stay are not touched.
DELETE_STALE_FACES = """
DELETE FROM face_embeddings AS old
WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND image = ANY(%(images)s::text[])
  AND NOT EXISTS (
    SELECT
    FROM unnest(%(kept)s::text[], %(x)s::int[], %(y)s::int[], %(w)s::int[], %(h)s::int[]) AS kept (image, x, y, w, h)
    WHERE (kept.image, kept.x, kept.y, kept.w, kept.h) = (old.image, old.box_x, old.box_y, old.box_w, old.box_h)
  )
"""

DELETE_FACES = """
DELETE FROM face_embeddings WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND image = %(path)s
"""

DELETE_RECORD = "DELETE FROM processed_images WHERE spec_id = %(spec_id)s AND domain = %(domain)s AND path = %(source)s"

# An image that has no face makes no person.
ADD_PERSON = """
INSERT INTO persons (domain, name)
SELECT %(domain)s, %(person)s
WHERE %(is_other_person)s AND EXISTS (
    SELECT FROM face_embeddings
    WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND image = %(source)s
)
ON CONFLICT (domain, name) DO NOTHING
"""

# Within a folder the person stays who it is in the database, where it may have been renamed or merged since.
_PERSON_ID = """
CASE WHEN %(is_other_person)s
     THEN (SELECT p.id FROM persons AS p WHERE p.domain = %(domain)s AND p.name = %(person)s)
     ELSE person_id END
"""

MOVE_FACES = f"""
UPDATE face_embeddings SET image = %(path)s, person_id = {_PERSON_ID}, updated_at = now()
WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND image = %(source)s
"""  # noqa: S608 -- a constant of this module

COPY_FACES = f"""
INSERT INTO face_embeddings
    (person_id, person_domain, spec_id, image, image_sha256, box_x, box_y, box_w, box_h, embedding)
SELECT {_PERSON_ID}, person_domain, spec_id, %(path)s, image_sha256, box_x, box_y, box_w, box_h, embedding
FROM face_embeddings
WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND image = %(source)s
"""  # noqa: S608 -- a constant of this module
