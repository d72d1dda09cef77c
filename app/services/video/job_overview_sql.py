"""The SQL of what the console shows of jobs; values are parameters always."""

# ruff: noqa: S608 -- what is put into the statements are constants of ours

from app.services.video import job_sql

_OVERSEEN = f"(%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s) AND {job_sql.OF_DOMAINS}"

COUNTS = f"SELECT state, count(*) FROM jobs WHERE {_OVERSEEN} GROUP BY state"

RUNNING = f"""
SELECT {job_sql.COLUMNS} FROM jobs
WHERE state = 'running' AND {_OVERSEEN}
ORDER BY started_at, job_id LIMIT %(limit)s
"""

TENANTS = f"SELECT DISTINCT tenant_id FROM jobs WHERE {_OVERSEEN} ORDER BY tenant_id LIMIT 500"

# Position 0 is an identity's best face; a job without a picture still has its time.
COVERS = f"""
SELECT j.job_id, j.created_at, c.cluster_id
FROM (SELECT job_id, created_at FROM jobs WHERE job_id = ANY(%(job_ids)s) AND {job_sql.IN_SCOPE}) AS j
LEFT JOIN face_crops AS c ON c.job_id = j.job_id AND c.position = 0 AND c.cluster_id >= 0
ORDER BY j.job_id, c.cluster_id
"""

HAS_PHOTO = "SELECT FROM profile_matches WHERE job_id = %(job_id)s AND profile_image_path = %(key)s LIMIT 1"
