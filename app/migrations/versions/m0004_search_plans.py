"""search plans"""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # How a domain is searched, and what was measured when that was chosen. `max_distance` is the threshold it was
    # chosen for. Faces with a greater revision than `covered_up_to` came later: no template knows them. A probe whose
    # best match is not nearer than the threshold less `retry_margin` is searched once more, measuring all templates.
    """
    CREATE TABLE search_plans (
        id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        domain                 text NOT NULL CHECK (domain <> ''),
        spec_id                integer NOT NULL REFERENCES embedding_specs (id),
        strategy               text NOT NULL CHECK (strategy IN ('whole', 'images', 'templates')),
        ef_search              integer NOT NULL CHECK (ef_search BETWEEN 1 AND 1000),
        max_distance           double precision NOT NULL,
        max_template_distance  double precision NOT NULL,
        covered_up_to          bigint NOT NULL,
        faces                  bigint NOT NULL,
        persons                bigint NOT NULL,
        templates              bigint NOT NULL,
        retry_margin           double precision,
        probes                 integer NOT NULL DEFAULT 0,
        recall_top1            double precision,
        recall_top1_low        double precision,
        recall_top1_high       double precision,
        recall_top5            double precision,
        recall_top5_low        double precision,
        recall_top5_high       double precision,
        search_p50_ms          double precision,
        met                    boolean NOT NULL DEFAULT false,
        active                 boolean NOT NULL DEFAULT false,
        measured_at            timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE UNIQUE INDEX search_plans_active ON search_plans (domain, spec_id) WHERE active",
    # Half precision is enough to find persons by: half to store, and a quarter less time to read them all. A vector is
    # kept in its row, as in face_embeddings.
    """
    CREATE TABLE person_templates (
        plan_id    bigint NOT NULL REFERENCES search_plans (id) ON DELETE CASCADE,
        person_id  bigint NOT NULL REFERENCES persons (id) ON DELETE CASCADE,
        embedding  halfvec NOT NULL
    ) WITH (toast_tuple_target = 8160)
    """,
    "CREATE INDEX person_templates_plan ON person_templates (plan_id)",
    "CREATE INDEX person_templates_person ON person_templates (person_id)",
    # A face's revision rises with whatever changes what the face is evidence of; its id is known to clients and stays.
    "CREATE SEQUENCE face_revisions AS bigint",
    "ALTER TABLE face_embeddings ADD COLUMN revision bigint NOT NULL DEFAULT nextval('face_revisions')",
    "ALTER SEQUENCE face_revisions OWNED BY face_embeddings.revision",
    # The faces that came after a plan are the end of a range; the shorter index is a part of it.
    "CREATE INDEX face_embeddings_scope_revision ON face_embeddings (spec_id, person_domain, revision)",
    "DROP INDEX face_embeddings_scope",
    # Here, and not in the statements that change faces, so that none can forget it. By their bytes, because pg_dump
    # cannot write down which IS DISTINCT FROM it is of an extension's type, and its dump would not come back.
    """
    CREATE FUNCTION renew_face_revision() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.revision := nextval('face_revisions');
        RETURN NEW;
    END
    $$
    """,
    """
    CREATE TRIGGER face_embeddings_renew_revision BEFORE UPDATE ON face_embeddings
    FOR EACH ROW
    WHEN (
        (OLD.person_id, OLD.person_domain, OLD.spec_id) IS DISTINCT FROM
        (NEW.person_id, NEW.person_domain, NEW.spec_id)
        OR vector_send(OLD.embedding) IS DISTINCT FROM vector_send(NEW.embedding)
    )
    EXECUTE FUNCTION renew_face_revision()
    """,
)


def upgrade() -> None:
    """Make the tables of the search plans."""
    for statement in STATEMENTS:
        op.execute(statement)
