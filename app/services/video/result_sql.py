"""The SQL that reads what was found in a video; values are parameters always."""

# ruff: noqa: S608 -- what is put into the statements are constants of ours

from app.services.video import job_sql

IDENTITIES = """
SELECT cluster_id, face_count, avg_quality, best_face, timeline, matches FROM identities
WHERE job_id = %(job_id)s ORDER BY cluster_id < 0, cluster_id
"""

HAS_IDENTITY = "SELECT FROM identities WHERE job_id = %(job_id)s AND cluster_id = %(cluster_id)s"

CROPS = """
SELECT cluster_id, position, key, at_s, quality, box FROM face_crops
WHERE job_id = %(job_id)s ORDER BY cluster_id, position
"""

CROP_KEY = """
SELECT key FROM face_crops WHERE job_id = %(job_id)s AND cluster_id = %(cluster_id)s AND position = %(position)s
"""

# A link stands once, with the later video; it is shown from both, to whoever may see the other video too.
LINKS = f"""
SELECT link.* FROM (
    SELECT cluster_id, other_job_id AS linked_job_id, other_cluster_id AS linked_cluster_id, similarity, 'earlier'
    FROM identity_links WHERE job_id = %(job_id)s
    UNION ALL
    SELECT other_cluster_id, job_id, cluster_id, similarity, 'later'
    FROM identity_links WHERE other_job_id = %(job_id)s
) AS link
WHERE EXISTS (SELECT FROM jobs WHERE job_id = linked_job_id AND {job_sql.IN_SCOPE})
ORDER BY similarity DESC, linked_job_id, linked_cluster_id
"""

_MATCH = """
SELECT match_id, cluster_id, entity_id, similarity, platform, profile_name, profile_id, profile_url,
       profile_image_path, raw_metadata, created_at
FROM profile_matches WHERE job_id = %(job_id)s
"""

_BEST_FIRST = "ORDER BY similarity DESC, match_id"

PROFILE_MATCHES = f"{_MATCH} {_BEST_FIRST}"

PROFILE_MATCHES_OF_IDENTITY = f"{_MATCH} AND cluster_id = %(cluster_id)s {_BEST_FIRST}"
