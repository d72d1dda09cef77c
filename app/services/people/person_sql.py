"""The SQL of the persons; values are parameters always."""

_PERSON = """
SELECT p.id, p.name, p.created_at, (
    SELECT count(*) FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
    WHERE f.person_id = p.id AND s.key = %(spec_key)s
)
FROM persons AS p
WHERE p.domain = %(domain)s
"""

PAGE = f"""
{_PERSON} AND (%(pattern)s::text IS NULL OR p.name ILIKE %(pattern)s)
ORDER BY p.name, p.id LIMIT %(limit)s OFFSET %(offset)s
"""

TOTAL = """
SELECT count(*) FROM persons WHERE domain = %(domain)s AND (%(pattern)s::text IS NULL OR name ILIKE %(pattern)s)
"""

BY_ID = f"{_PERSON} AND p.id = %(id)s"

BY_NAME = f"{_PERSON} AND p.name = %(name)s"

FACES = """
SELECT f.id, f.image, f.box_x, f.box_y, f.box_w, f.box_h, f.image_sha256, f.created_at
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE f.person_id = %(id)s AND s.key = %(spec_key)s
ORDER BY f.image, f.id
"""

IMAGES = "SELECT DISTINCT image FROM face_embeddings WHERE person_id = %(id)s ORDER BY image"

IMAGE_OF_FACE = "SELECT image FROM face_embeddings WHERE id = %(face_id)s AND person_id = %(id)s"

ADD_PERSON = """
INSERT INTO persons (domain, name) VALUES (%(domain)s, %(name)s) ON CONFLICT (domain, name) DO NOTHING RETURNING id
"""

RENAME = "UPDATE persons SET name = %(name)s, updated_at = now() WHERE id = %(id)s"

DELETE_PERSON = "DELETE FROM persons WHERE id = %(id)s"

ADD_FACE = """
INSERT INTO face_embeddings
    (person_id, person_domain, spec_id, image, image_sha256, box_x, box_y, box_w, box_h, embedding)
VALUES (%(id)s, %(domain)s, %(spec_id)s, %(image)s, %(image_sha256)s, %(x)s, %(y)s, %(w)s, %(h)s, %(embedding)s::vector)
"""

# In every spec: the photo is the same, whatever it was embedded with.
RELOCATE = """
UPDATE face_embeddings AS f SET image = moved.new, person_id = %(to)s, updated_at = now()
FROM unnest(%(old)s::text[], %(new)s::text[]) AS moved (old, new)
WHERE f.person_id = %(id)s AND f.image = moved.old
"""

# So that a bulk load knows them at their new place. A record that lies there already is of a file that is gone.
DROP_STALE_RECORDS = "DELETE FROM processed_images WHERE domain = %(domain)s AND path = ANY(%(new)s::text[])"

RELOCATE_RECORDS = """
UPDATE processed_images AS r SET path = moved.new, person = %(person)s
FROM unnest(%(old)s::text[], %(new)s::text[]) AS moved (old, new)
WHERE r.domain = %(domain)s AND r.path = moved.old
"""

RELOCATE_MERGED = """
UPDATE person_merge_images AS m SET image = moved.new
FROM unnest(%(old)s::text[], %(new)s::text[]) AS moved (old, new),
     person_merges AS g JOIN persons AS p ON p.id = g.target_id
WHERE m.merge_id = g.id AND p.domain = %(domain)s AND m.image = moved.old
"""

REMOVE_FACES = "DELETE FROM face_embeddings WHERE person_id = %(id)s AND image = ANY(%(images)s::text[])"

REMOVE_RECORDS = """
DELETE FROM processed_images
WHERE domain = %(domain)s AND (path = ANY(%(images)s::text[]) OR person = %(person)s::text)
"""

REMOVE_MERGED = """
DELETE FROM person_merge_images AS m USING person_merges AS g, persons AS p
WHERE m.merge_id = g.id AND g.target_id = p.id AND p.domain = %(domain)s AND m.image = ANY(%(images)s::text[])
"""

ADD_MERGE = """
INSERT INTO person_merges (target_id, source_name) VALUES (%(to)s, %(name)s) RETURNING id
"""

ADD_MERGE_IMAGES = """
INSERT INTO person_merge_images (merge_id, image, image_before)
SELECT %(merge_id)s, moved.new, moved.old FROM unnest(%(old)s::text[], %(new)s::text[]) AS moved (old, new)
"""

# What was merged into the person who now goes can still be undone, from the person who takes everything.
HAND_OVER_MERGES = "UPDATE person_merges SET target_id = %(to)s WHERE target_id = %(id)s"

MERGE = """
SELECT g.target_id, g.source_name FROM person_merges AS g JOIN persons AS p ON p.id = g.target_id
WHERE g.id = %(merge_id)s AND p.domain = %(domain)s
"""

# Photos that were moved to somebody else since stay there.
MERGED_IMAGES = """
SELECT m.image, m.image_before FROM person_merge_images AS m JOIN person_merges AS g ON g.id = m.merge_id
WHERE m.merge_id = %(merge_id)s
  AND EXISTS (SELECT FROM face_embeddings AS f WHERE f.person_id = g.target_id AND f.image = m.image)
"""

DELETE_MERGE = "DELETE FROM person_merges WHERE id = %(merge_id)s"

# A merge names the person who went: whoever deletes a person of that name deletes these as well.
DELETE_MERGES_OF_NAME = """
DELETE FROM person_merges AS g USING persons AS p
WHERE g.target_id = p.id AND p.domain = %(domain)s AND (g.source_name = %(name)s OR g.target_id = %(id)s)
"""

AUDIT = """
INSERT INTO audit_log (actor, domain, action, subject, counts)
VALUES (%(actor)s, %(domain)s, %(action)s, %(subject)s, %(counts)s)
"""

ADD_RECEIPT = """
INSERT INTO deletion_receipts (id, domain, actor, counts)
VALUES (%(receipt_id)s, %(domain)s, %(actor)s, %(counts)s) RETURNING deleted_at
"""

COMPLETE_RECEIPT = "UPDATE deletion_receipts SET completed_at = now() WHERE id = %(receipt_id)s"

FINAL_COUNTS = "UPDATE deletion_receipts SET counts = %(counts)s WHERE id = %(receipt_id)s RETURNING completed_at"

COMMIT_CHANGE = "INSERT INTO gallery_changes (id, domain, aborted) VALUES (%(change_id)s, %(domain)s, false)"

# A transaction that still holds this key is waited for; once this row is in, that transaction can never commit.
ABORT_CHANGE = """
INSERT INTO gallery_changes (id, domain, aborted) VALUES (%(change_id)s, %(domain)s, true) ON CONFLICT (id) DO NOTHING
"""

WAS_ABORTED = "SELECT aborted FROM gallery_changes WHERE id = %(change_id)s"

# A journal settles within a change or two; a month covers one that comes back from a backup.
DROP_OLD_CHANGES = "DELETE FROM gallery_changes WHERE domain = %(domain)s AND decided_at < now() - interval '31 days'"
