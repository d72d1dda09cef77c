"""The SQL of persons' names in what was found in videos; values are parameters always."""

# Of two entries that are one person's by now, the better one stays.
RENAME = """
UPDATE identities AS i SET matches = (
    SELECT jsonb_agg(best.match ORDER BY best.place) FROM (
        SELECT DISTINCT ON (renamed.match ->> 'name') renamed.match, renamed.place
        FROM jsonb_array_elements(rename_in_comparison(i.matches, %(old)s, %(new)s, %(paths)s::jsonb))
             WITH ORDINALITY AS renamed (match, place)
        ORDER BY renamed.match ->> 'name', renamed.place
    ) AS best
)
FROM jobs AS j
WHERE j.job_id = i.job_id AND j.domain = %(domain)s AND i.matches @> %(named)s::jsonb
"""

FORGET = """
UPDATE identities AS i SET matches = (
    SELECT coalesce(jsonb_agg(kept.match ORDER BY kept.place), '[]')
    FROM jsonb_array_elements(i.matches) WITH ORDINALITY AS kept (match, place)
    WHERE kept.match ->> 'name' <> %(old)s
)
FROM jobs AS j
WHERE j.job_id = i.job_id AND j.domain = %(domain)s AND i.matches @> %(named)s::jsonb
"""
