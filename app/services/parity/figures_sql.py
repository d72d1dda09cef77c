"""The SQL of the report's figures; values are parameters always.

Millions of rows are counted within a second: from the index `comparisons_figures` and not from the table, by several
processes, and by hashes and not by sorting (the statistics `comparisons_hours` tell Postgres that hours are few).
"""

# Figures of one report are of one moment.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"

WHERE = """
WHERE source = %(source)s
  AND (%(domain)s::text IS NULL OR domain = %(domain)s)
  AND (%(spec_key)s::text IS NULL OR spec_key = %(spec_key)s)
  AND at >= coalesce(%(since)s, '-infinity'::timestamptz)
"""

# A run of a replay: its photos are named by their request ids.
OF_RUN = "AND request_id LIKE %(run)s"

BOUNDS = "SELECT min(at), max(at) FROM comparisons {where}"

TALLIES = """
SELECT domain, date_bin('1 hour', at, 'epoch'), count(*), count(top1_match),
    count(*) FILTER (WHERE top1_match), coalesce(sum(top5_overlap), 0), coalesce(sum(top5_size), 0),
    count(*) FILTER (WHERE known_flip = 'lost'), count(*) FILTER (WHERE known_flip = 'gained'),
    count(*) FILTER (WHERE answered_by = 'pkl'),
    count(*) FILTER (WHERE answered_by = 'pkl' AND verdict = 'candidate_failed')
FROM comparisons {where}
GROUP BY 1, 2 ORDER BY 2, 1
"""

DIFFERENCES = """
SELECT coalesce(cause, 'pending'), judged, count(*)
FROM comparisons {where} AND verdict <> 'agree'
GROUP BY 1, 2
"""

# Times are kept to a hundredth of a millisecond, so that there are few different ones, however many rows: counting them
# is a third of the work of percentile_cont, which sorts.
TIMES_OF_PKL = "SELECT pkl_ms, count(*) FROM comparisons {where} AND pkl_ms IS NOT NULL GROUP BY 1"
TIMES_OF_PGVECTOR = "SELECT pgvector_ms, count(*) FROM comparisons {where} AND pgvector_ms IS NOT NULL GROUP BY 1"

RUN = "SELECT request_id FROM comparisons WHERE source = 'replay' AND domain = %(domain)s AND request_id LIKE %(run)s"
