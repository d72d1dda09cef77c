"""The SQL of what the console shows of jobs; values are parameters always."""

# ruff: noqa: S608 -- what is put into the statements are constants of ours

from app.services.video import job_sql

COUNTS = """
SELECT state, count(*) FROM jobs WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s GROUP BY state
"""

RUNNING = f"""
SELECT {job_sql.COLUMNS} FROM jobs
WHERE state = 'running' AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
ORDER BY started_at, job_id LIMIT %(limit)s
"""

TENANTS = "SELECT DISTINCT tenant_id FROM jobs ORDER BY tenant_id LIMIT 500"

# Position 0 is an identity's best face; a job without a picture still has its time.
COVERS = """
SELECT j.job_id, j.created_at, c.cluster_id
FROM jobs AS j LEFT JOIN face_crops AS c ON c.job_id = j.job_id AND c.position = 0 AND c.cluster_id >= 0
WHERE j.tenant_id = %(tenant_id)s AND j.job_id = ANY(%(job_ids)s)
ORDER BY j.job_id, c.cluster_id
"""

HAS_PHOTO = "SELECT FROM profile_matches WHERE job_id = %(job_id)s AND profile_image_path = %(key)s LIMIT 1"
