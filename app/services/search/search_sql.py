"""The search through templates, in one statement."""

from app.services.vector_db_sql import BEST_OF_NEAR

# An index over templates is asked for its nearest once; there is nothing to go on for.
SETTINGS = """
SET LOCAL jit = off;
SET LOCAL random_page_cost = 1;
SET LOCAL hnsw.ef_search = {ef_search};
SET LOCAL hnsw.iterative_scan = off
"""

# As the index has it, and as an exact scan has it.
BY_INDEX = "embedding::halfvec({dimensions}) <=> (SELECT half FROM probe)::halfvec({dimensions})"
BY_MEASURING = "embedding <=> (SELECT half FROM probe)"

# A face that came after the plan is measured itself. Where the plan's row is gone, and with it its templates, that are
# all faces: slow for a moment, and never wrong. OFFSET 0 keeps the reading of persons' faces by person, as few as they
# are; the planner cannot know that.
_NEAR = """
WITH probe AS MATERIALIZED (
    SELECT given.vector, given.vector::halfvec AS half FROM (SELECT %(probe)s::vector AS vector) AS given
), close AS MATERIALIZED (
    SELECT person_id, {distance} AS distance
    FROM person_templates
    WHERE plan_id = %(plan_id)s
    ORDER BY distance LIMIT %(templates)s
), fresh AS MATERIALIZED (
    SELECT person_id, embedding <=> (SELECT vector FROM probe) AS distance
    FROM face_embeddings
    WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND revision > %(covered_up_to)s
    UNION ALL
    SELECT person_id, embedding <=> (SELECT vector FROM probe)
    FROM face_embeddings
    WHERE spec_id = %(spec_id)s AND person_domain = %(domain)s AND revision <= %(covered_up_to)s
        AND NOT EXISTS (SELECT FROM search_plans WHERE id = %(plan_id)s)
), chosen AS MATERIALIZED (
    (
        SELECT person_id FROM close WHERE distance <= %(max_template_distance)s
        GROUP BY person_id ORDER BY min(distance) FETCH FIRST %(max_persons)s ROWS WITH TIES
    )
    UNION
    SELECT person_id FROM fresh WHERE distance <= %(max_distance)s
), near AS MATERIALIZED (
    SELECT measured.id, measured.person_id, measured.distance
    FROM chosen CROSS JOIN LATERAL (
        SELECT id, person_id, embedding <=> (SELECT vector FROM probe) AS distance
        FROM face_embeddings
        WHERE person_id = chosen.person_id AND spec_id = %(spec_id)s AND person_domain = %(domain)s
        OFFSET 0
    ) AS measured
    WHERE distance <= %(max_distance)s
),"""

NEAREST = _NEAR + BEST_OF_NEAR
