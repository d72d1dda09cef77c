"""The SQL of identities, of what is kept of their faces, and of what they match; values are parameters always."""

# ruff: noqa: S608 -- what is put into the statements are constants of ours

from app.services.video import job_sql

# A worker that was given up for dead must not write over the one that has taken its place; held until COMMIT.
STILL_OURS = f"{job_sql.IS_ACTIVE} FOR NO KEY UPDATE"

# Crops and links go with them.
REMOVE = "DELETE FROM identities WHERE job_id = %(job_id)s"

INSERT = """
INSERT INTO identities (job_id, cluster_id, tenant_id, spec_key, face_count, avg_quality, best_face, timeline,
                        embedding)
SELECT %(job_id)s, i.cluster_id, %(tenant_id)s, %(spec_key)s, i.face_count, i.avg_quality, i.best_face, i.timeline,
       i.embedding::text::vector
FROM jsonb_to_recordset(%(rows)s::jsonb) AS i (
    cluster_id integer, face_count integer, avg_quality real, best_face jsonb, timeline jsonb, embedding text
)
"""

INSERT_CROPS = """
INSERT INTO face_crops (job_id, cluster_id, position, key, at_s, quality, box)
SELECT %(job_id)s, c.cluster_id, c.position, c.key, c.at_s, c.quality, c.box
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c (
    cluster_id integer, position integer, key text, at_s double precision, quality real, box jsonb
)
ON CONFLICT (job_id, cluster_id, position) DO UPDATE
SET key = excluded.key, at_s = excluded.at_s, quality = excluded.quality, box = excluded.box
"""

SET_MATCHES = """
UPDATE identities AS i SET matches = m.matches
FROM jsonb_to_recordset(%(rows)s::jsonb) AS m (cluster_id integer, matches jsonb)
WHERE i.job_id = %(job_id)s AND i.cluster_id = m.cluster_id
"""

SET_GALLERY_SEARCH = "UPDATE jobs SET gallery_search = %(outcome)s WHERE job_id = %(job_id)s"

SET_LINK_SEARCH = "UPDATE jobs SET link_search = %(outcome)s WHERE job_id = %(job_id)s"

# The numbers that the container did not tell, now that the video was read.
SET_FACTS = "UPDATE jobs SET facts = %(facts)s WHERE job_id = %(job_id)s"

# JIT compiles for longer than it saves.
NEAR_SETTINGS = "SET LOCAL jit = off;"

# Measured exactly, the tenant's own identities of the spec alone: an HNSW index over all tenants is filtered after its
# scan and loses a small tenant's. All of `mine` in one pass over them: a pass for each takes three to four times as
# long. The CASE keeps vectors of another length from being compared, whatever order the planner chooses. Of each other
# video the nearest identity, and of those the nearest few.
NEAR = """
SELECT cluster_id, other_job_id, other_cluster_id, 1 - distance
FROM (
    SELECT nearest.*, row_number() OVER (PARTITION BY cluster_id ORDER BY distance, other_job_id) AS place
    FROM (
        SELECT DISTINCT ON (mine.cluster_id, other.job_id)
               mine.cluster_id, other.job_id AS other_job_id, other.cluster_id AS other_cluster_id, measured.distance
        FROM identities AS mine
        JOIN identities AS other
          ON other.tenant_id = mine.tenant_id AND other.spec_key = mine.spec_key AND other.job_id <> mine.job_id
        CROSS JOIN LATERAL (
            SELECT CASE WHEN other.spec_key = mine.spec_key THEN other.embedding <=> mine.embedding END AS distance
        ) AS measured
        WHERE mine.job_id = %(job_id)s AND mine.cluster_id = ANY(%(clusters)s) AND mine.embedding IS NOT NULL
          AND other.embedding IS NOT NULL AND measured.distance <= %(max_distance)s
        ORDER BY mine.cluster_id, other.job_id, measured.distance, other.cluster_id
    ) AS nearest
) AS ranked
WHERE place <= %(limit)s
"""

# A link has one direction, from the later job to the earlier one: two jobs that run at once find each other whoever is
# second, and it is there once. In one order, so that they do not wait for each other. What was deleted or replaced
# since it was measured is left out.
INSERT_LINKS = """
INSERT INTO identity_links (job_id, cluster_id, other_job_id, other_cluster_id, similarity)
SELECT CASE WHEN pair.is_earlier THEN %(job_id)s ELSE pair.other_job_id END,
       CASE WHEN pair.is_earlier THEN pair.cluster_id ELSE pair.other_cluster_id END,
       CASE WHEN pair.is_earlier THEN pair.other_job_id ELSE %(job_id)s END,
       CASE WHEN pair.is_earlier THEN pair.other_cluster_id ELSE pair.cluster_id END,
       pair.similarity
FROM (
    SELECT near.*, (theirs.created_at, theirs.job_id) < (ours.created_at, ours.job_id) AS is_earlier
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS near (
        cluster_id integer, other_job_id text, other_cluster_id integer, similarity double precision
    )
    JOIN identities AS other ON other.job_id = near.other_job_id AND other.cluster_id = near.other_cluster_id
    JOIN jobs AS theirs ON theirs.job_id = near.other_job_id
    JOIN jobs AS ours ON ours.job_id = %(job_id)s
) AS pair
ORDER BY 1, 2, 3, 4
ON CONFLICT (job_id, cluster_id, other_job_id, other_cluster_id) DO UPDATE SET similarity = excluded.similarity
"""

_PROFILES = """
jsonb_to_recordset(%(rows)s::jsonb) AS m (
    cluster_id integer, entity_id text, similarity double precision, platform text, name text, profile_id text,
    profile_url text, profile_image_path text, raw_metadata jsonb
)
"""

# A profile that matches again keeps its `match_id`. An entity may have two documents of one platform.
UPSERT_PROFILES = f"""
INSERT INTO profile_matches (job_id, tenant_id, cluster_id, entity_id, similarity, platform, profile_name, profile_id,
                             profile_url, profile_image_path, raw_metadata)
SELECT DISTINCT ON (m.cluster_id, m.entity_id, m.platform)
       %(job_id)s, %(tenant_id)s, m.cluster_id, m.entity_id, m.similarity, m.platform, m.name, m.profile_id,
       m.profile_url, m.profile_image_path, m.raw_metadata
FROM {_PROFILES}
ORDER BY m.cluster_id, m.entity_id, m.platform, m.similarity DESC
ON CONFLICT (job_id, cluster_id, entity_id, platform) DO UPDATE
SET similarity = excluded.similarity, profile_name = excluded.profile_name, profile_id = excluded.profile_id,
    profile_url = excluded.profile_url, profile_image_path = excluded.profile_image_path,
    raw_metadata = excluded.raw_metadata
"""

REMOVE_OTHER_PROFILES = f"""
DELETE FROM profile_matches AS p
WHERE p.job_id = %(job_id)s AND NOT EXISTS (
    SELECT FROM {_PROFILES}
    WHERE m.cluster_id = p.cluster_id AND m.entity_id = p.entity_id AND m.platform = p.platform
)
"""

REMOVE_PROFILES = "DELETE FROM profile_matches WHERE job_id = %(job_id)s"
