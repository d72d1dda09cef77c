"""The SQL of `jobs`; values are parameters always."""

# ruff: noqa: S608 -- what is put into the statements are constants of this module

COLUMNS = """
job_id, tenant_id, domain, state, stage, percent, frames_done, frames_total, faces, priority, attempts, ticket,
cancel_requested, upload, upload_bytes, facts, spec_key, request_id, idempotency_digest, webhook_url, webhook_state,
webhook_attempts, profile_search, gallery_search, link_search, error_code, error_message, created_at, started_at,
progressed_at, finished_at
"""

# What a `JobScope` may see. A job of another tenant or domain is not there.
OF_DOMAINS = "(%(domains)s::text[] IS NULL OR domain = ANY(%(domains)s))"
IN_SCOPE = f"tenant_id = %(tenant_id)s AND {OF_DOMAINS}"

# Held while a tenant's jobs are counted and one is added: two uploads at once see each other.
LOCK_TENANT = "SELECT pg_advisory_xact_lock(hashtextextended('facerec.video.tenant.' || %(tenant_id)s, 0))"

# Held while a worker chooses: the next one sees whose turn has just been used up.
LOCK_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('facerec.video.turns', 0))"

BY_KEY = f"SELECT {COLUMNS} FROM jobs WHERE tenant_id = %(tenant_id)s AND idempotency_key = %(idempotency_key)s"

UNFINISHED = "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant_id)s AND state IN ('queued', 'running')"

UNFINISHED_STATE = """
SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
       round(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'queued')), 1)::float8,
       round(extract(epoch FROM now() - min(progressed_at)), 1)::float8
FROM jobs WHERE state IN ('queued', 'running')
"""

INSERT = f"""
INSERT INTO jobs (job_id, tenant_id, domain, state, stage, priority, upload, upload_bytes, facts, spec_key, request_id,
                  created_by, idempotency_key, idempotency_digest, webhook_url)
VALUES (%(job_id)s, %(tenant_id)s, %(domain)s, 'queued', %(stage)s, %(priority)s, %(upload)s, %(upload_bytes)s,
        %(facts)s, %(spec_key)s, %(request_id)s, %(created_by)s, %(idempotency_key)s, %(idempotency_digest)s,
        %(webhook_url)s)
RETURNING {COLUMNS}
"""

ONE = f"SELECT {COLUMNS} FROM jobs WHERE job_id = %(job_id)s AND {IN_SCOPE}"

PAGE = f"""
SELECT {COLUMNS} FROM jobs
WHERE {IN_SCOPE} AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY created_at DESC, job_id LIMIT %(limit)s OFFSET %(offset)s
"""

TOTAL = f"SELECT count(*) FROM jobs WHERE {IN_SCOPE} AND (%(state)s::text IS NULL OR state = %(state)s)"

OF_TICKET = "SELECT job_id FROM jobs WHERE ticket = %(ticket)s FOR UPDATE"

# Whose turn was longest ago, or never; of that tenant what is most urgent, then what waited longest.
NEXT = """
SELECT j.job_id FROM jobs AS j LEFT JOIN tenant_turns AS t ON t.tenant_id = j.tenant_id
WHERE j.state = 'queued' AND j.ticket IS NULL
ORDER BY t.served_at NULLS FIRST, j.priority DESC, j.created_at, j.job_id
LIMIT 1 FOR UPDATE OF j SKIP LOCKED
"""

SERVED = """
INSERT INTO tenant_turns (tenant_id, served_at) VALUES (%(tenant_id)s, clock_timestamp())
ON CONFLICT (tenant_id) DO UPDATE SET served_at = EXCLUDED.served_at
"""

# `clock_timestamp`: of two claims at the same moment, which stood in line for LOCK_TURNS, the later has the later time,
# here and in SERVED.
START = f"""
UPDATE jobs SET state = 'running', ticket = %(ticket)s, attempts = attempts + 1, stage = %(stage)s, percent = 0,
                frames_done = 0, frames_total = NULL, faces = 0, error_code = NULL, error_message = NULL,
                started_at = clock_timestamp(), progressed_at = clock_timestamp()
WHERE job_id = %(job_id)s
RETURNING {COLUMNS}
"""

# Of this attempt only: a worker that was given up for dead must not write over the one that has taken its place. No two
# attempts begin at the same time; the number of attempts would not tell them apart, as a released job gets it back.
_OF_ATTEMPT = "job_id = %(job_id)s AND started_at = %(started_at)s AND state = 'running'"

PROGRESS = f"""
UPDATE jobs SET stage = %(stage)s, percent = %(percent)s, frames_done = %(frames_done)s,
                frames_total = %(frames_total)s, faces = %(faces)s, progressed_at = now()
WHERE {_OF_ATTEMPT} AND NOT cancel_requested
"""

IS_ACTIVE = f"SELECT FROM jobs WHERE {_OF_ATTEMPT} AND NOT cancel_requested"

# A job that has ended lets go of its ticket: a queue that is made anew gives the number to another one.
FINISH = f"""
UPDATE jobs SET state = %(state)s, ticket = NULL, error_code = %(code)s, error_message = %(message)s,
                finished_at = now(), progressed_at = now(),
                percent = CASE WHEN %(state)s = 'done' THEN 100 ELSE percent END,
                webhook_state = CASE WHEN webhook_url IS NULL THEN NULL ELSE 'waiting' END
WHERE {_OF_ATTEMPT}
"""

SET_PROFILE_SEARCH = f"UPDATE jobs SET profile_search = %(profile_search)s WHERE {_OF_ATTEMPT}"

RELEASE = (
    f"UPDATE jobs SET state = 'queued', ticket = NULL, attempts = attempts - 1, stage = %(stage)s WHERE {_OF_ATTEMPT}"
)

# A failed attempt that is not the last one: the job waits again, for its own ticket, which comes again later.
RETRY = f"""
UPDATE jobs SET state = 'queued', stage = %(stage)s, error_code = %(code)s, error_message = %(message)s
WHERE {_OF_ATTEMPT}
"""

# One that runs is told to stop, and its worker ends it.
CANCEL = f"""
UPDATE jobs SET cancel_requested = true,
                state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END,
                ticket = CASE WHEN state = 'queued' THEN NULL ELSE ticket END,
                finished_at = CASE WHEN state = 'queued' THEN now() ELSE finished_at END,
                webhook_state = CASE WHEN state = 'queued' AND webhook_url IS NOT NULL THEN 'waiting'
                                     ELSE webhook_state END
WHERE job_id = %(job_id)s AND {IN_SCOPE} AND state IN ('queued', 'running')
RETURNING {COLUMNS}
"""

COUNTS = """
SELECT (SELECT count(*) FROM identities WHERE job_id = %(job_id)s),
       (SELECT count(*) FROM face_crops WHERE job_id = %(job_id)s),
       (SELECT count(*) FROM identity_links WHERE job_id = %(job_id)s OR other_job_id = %(job_id)s),
       (SELECT count(*) FROM profile_matches WHERE job_id = %(job_id)s)
"""

DELETE = "DELETE FROM jobs WHERE job_id = %(job_id)s AND tenant_id = %(tenant_id)s"

EXPIRED = f"""
SELECT {COLUMNS} FROM jobs WHERE finished_at < %(before)s AND NOT job_id = ANY(%(passed_over)s::text[])
ORDER BY finished_at LIMIT %(limit)s
"""

UNFINISHED_OF = "SELECT job_id FROM jobs WHERE job_id = ANY(%(job_ids)s) AND state IN ('queued', 'running')"

KNOWN = "SELECT job_id FROM jobs WHERE job_id = ANY(%(job_ids)s)"

AUDIT = """
INSERT INTO audit_log (actor, domain, action, subject, counts)
VALUES (%(actor)s, %(domain)s, %(action)s, %(subject)s, %(counts)s)
"""
