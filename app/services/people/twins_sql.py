"""The SQL of persons who may be the same one; values are parameters always."""

# What a result is kept by: enrolments, deletions and bulk loads change the counts, everything else is audited.
STATE = """
SELECT (SELECT count(*) FROM persons WHERE domain = %(domain)s),
       (SELECT count(*) FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
        WHERE f.person_domain = %(domain)s AND s.key = %(spec_key)s),
       (SELECT max(id) FROM audit_log WHERE domain = %(domain)s AND action <> %(dismissal)s)
"""

# Of the newest persons: whoever is enrolled a second time is among them, and the time it takes stays bounded.
TEMPLATES = """
SELECT f.person_id, vector_send(avg(l2_normalize(f.embedding)))
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE f.person_domain = %(domain)s AND s.key = %(spec_key)s
  AND f.person_id IN (SELECT id FROM persons WHERE domain = %(domain)s ORDER BY id DESC LIMIT %(most)s)
GROUP BY f.person_id ORDER BY f.person_id
"""

TEMPLATES_OF = """
SELECT f.person_id, vector_send(avg(l2_normalize(f.embedding)))
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE f.person_domain = %(domain)s AND s.key = %(spec_key)s AND f.person_id = ANY(%(persons)s)
GROUP BY f.person_id ORDER BY f.person_id
"""

PERSONS = """
SELECT p.id, p.name, p.created_at, (
    SELECT count(*) FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
    WHERE f.person_id = p.id AND s.key = %(spec_key)s
)
FROM persons AS p WHERE p.domain = %(domain)s AND p.id = ANY(%(persons)s)
"""

DISMISSED = """
SELECT d.first_id, d.second_id FROM person_twin_dismissals AS d JOIN persons AS p ON p.id = d.first_id
WHERE p.domain = %(domain)s
"""

DISMISS = """
INSERT INTO person_twin_dismissals (first_id, second_id)
SELECT a.id, b.id FROM persons AS a JOIN persons AS b ON b.domain = a.domain
WHERE a.domain = %(domain)s AND a.id = %(first)s AND b.id = %(second)s
ON CONFLICT (first_id, second_id) DO NOTHING
"""
