"""The SQL of backup and restore."""

# pg_dump reads by the same snapshot, so what is counted here is what it writes, whatever is added meanwhile. The
# snapshot is only good while this transaction is open, and a server may be set to end one that seems idle.
SNAPSHOT = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SET LOCAL idle_in_transaction_session_timeout = 0;
SELECT pg_export_snapshot(), now()
"""

# Names as the server quotes them. A table that belongs to an extension is not in a dump.
TABLES = """
SELECT c.oid::regclass::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT starts_with(n.nspname, 'pg_') AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
ORDER BY 1
"""

COUNT_ROWS = "SELECT count(*) FROM {table}"

VERSIONS = """
SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'vector')
"""

SCHEMA = "SELECT version_num FROM alembic_version"

VECTOR_INDEXES = """
SELECT count(*)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS a ON a.oid = c.relam
WHERE a.amname = 'hnsw' AND i.indisvalid
"""

SPECS = "SELECT document FROM embedding_specs ORDER BY id"

DOMAINS = """
SELECT p.domain, count(DISTINCT p.id), count(f.id)
FROM persons AS p LEFT JOIN face_embeddings AS f ON f.person_id = p.id
GROUP BY p.domain ORDER BY p.domain
"""

# Indexes are not dumped as such, and vectors compress little.
SIZE = """
SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND NOT starts_with(n.nspname, 'pg_') AND n.nspname <> 'information_schema'
"""

# The ids are drawn first: sorting all vectors to take five would need their memory.
SAMPLE = """
SELECT p.name, f.image, vector_send(f.embedding)
FROM face_embeddings AS f JOIN persons AS p ON p.id = f.person_id
WHERE f.id IN (
    SELECT g.id FROM face_embeddings AS g JOIN embedding_specs AS s ON s.id = g.spec_id
    WHERE g.person_domain = %(domain)s AND s.key = %(key)s
    ORDER BY random() LIMIT %(faces)s
)
"""

# The planner has no figures of a restored table, and the search decides by them between index and exact scan.
ANALYZE = "ANALYZE"
