"""video jobs, their identities, and the profiles these match"""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    # `ticket` is the entry of the queue that has the job; null once it has ended, because a queue that is made anew
    # numbers its entries from 1 again. `idempotency_digest` says what came with the key, so that a key that is used for
    # something else is refused. `webhook_attempts` counts how often the webhook was sent.
    """
    CREATE TABLE jobs (
        job_id              text PRIMARY KEY,
        tenant_id           text NOT NULL DEFAULT 'default',
        domain              text NOT NULL,
        state               text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        stage               text NOT NULL,
        percent             real NOT NULL DEFAULT 0,
        frames_done         integer NOT NULL DEFAULT 0,
        frames_total        integer,
        faces               integer NOT NULL DEFAULT 0,
        priority            integer NOT NULL DEFAULT 0,
        attempts            integer NOT NULL DEFAULT 0,
        ticket              bigint,
        cancel_requested    boolean NOT NULL DEFAULT false,
        upload              text NOT NULL,
        upload_bytes        bigint NOT NULL,
        facts               jsonb NOT NULL,
        spec_key            text NOT NULL,
        request_id          text NOT NULL,
        created_by          text,
        idempotency_key     text,
        idempotency_digest  text,
        webhook_url         text,
        webhook_state       text CHECK (webhook_state IN ('waiting', 'delivered', 'failed')),
        webhook_attempts    integer NOT NULL DEFAULT 0,
        gallery_search      jsonb,
        link_search         jsonb,
        profile_search      jsonb,
        error_code          text,
        error_message       text,
        created_at          timestamptz NOT NULL DEFAULT now(),
        started_at          timestamptz,
        progressed_at       timestamptz NOT NULL DEFAULT now(),
        finished_at         timestamptz,
        UNIQUE (tenant_id, idempotency_key)
    )
    """,
    "CREATE INDEX jobs_waiting ON jobs (tenant_id, priority DESC, created_at) WHERE state = 'queued'",
    "CREATE INDEX jobs_unfinished ON jobs (tenant_id) WHERE state IN ('queued', 'running')",
    "CREATE INDEX jobs_of_tenant ON jobs (tenant_id, created_at DESC)",
    "CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL",
    "CREATE UNIQUE INDEX jobs_ticket ON jobs (ticket) WHERE ticket IS NOT NULL",
    # `embedding` has unit length, and is null for the outliers (cluster_id -1). `best_face` and `timeline` as in the
    # results; `matches` are the persons of the domain's gallery, best first. `crop` is the key of the best face's crop.
    # A row stays in one piece, as in face_embeddings: measuring 100,000 of them takes a fifth of the time.
    """
    CREATE TABLE identities (
        job_id       text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        cluster_id   integer NOT NULL,
        tenant_id    text NOT NULL,
        spec_key     text NOT NULL,
        face_count   integer NOT NULL,
        avg_quality  real NOT NULL,
        best_face    jsonb NOT NULL,
        timeline     jsonb NOT NULL,
        matches      jsonb NOT NULL DEFAULT '[]',
        embedding    vector,
        created_at   timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (job_id, cluster_id)
    ) WITH (toast_tuple_target = 8160)
    """,
    "CREATE INDEX identities_of_tenant ON identities (tenant_id, spec_key) WHERE embedding IS NOT NULL",
    # Whoever deletes or renames a person finds the identities that name them.
    "CREATE INDEX identities_matches ON identities USING gin (matches jsonb_path_ops)",
    # When each tenant last had a turn of a worker; not in the jobs, which may be deleted.
    """
    CREATE TABLE tenant_turns (
        tenant_id  text PRIMARY KEY,
        served_at  timestamptz NOT NULL
    )
    """,
    # Faces of which a crop is kept.
    """
    CREATE TABLE face_crops (
        job_id      text NOT NULL,
        cluster_id  integer NOT NULL,
        position    integer NOT NULL,
        key         text NOT NULL,
        at_s        double precision NOT NULL,
        quality     real NOT NULL,
        box         jsonb NOT NULL,
        PRIMARY KEY (job_id, cluster_id, position),
        FOREIGN KEY (job_id, cluster_id) REFERENCES identities ON DELETE CASCADE
    )
    """,
    # The same person in an earlier video of the tenant: from the later identity to the earlier one.
    """
    CREATE TABLE identity_links (
        job_id            text NOT NULL,
        cluster_id        integer NOT NULL,
        other_job_id      text NOT NULL,
        other_cluster_id  integer NOT NULL,
        similarity        real NOT NULL,
        PRIMARY KEY (job_id, cluster_id, other_job_id, other_cluster_id),
        FOREIGN KEY (job_id, cluster_id) REFERENCES identities ON DELETE CASCADE,
        FOREIGN KEY (other_job_id, other_cluster_id) REFERENCES identities (job_id, cluster_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX identity_links_back ON identity_links (other_job_id, other_cluster_id)",
    """
    CREATE TABLE profile_matches (
        match_id            serial PRIMARY KEY,
        job_id              text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        tenant_id           text NOT NULL DEFAULT 'default',
        cluster_id          integer NOT NULL,
        entity_id           text NOT NULL,
        similarity          double precision NOT NULL,
        platform            text NOT NULL,
        profile_name        text,
        profile_id          text,
        profile_image_path  text,
        profile_url         text,
        raw_metadata        jsonb NOT NULL DEFAULT '{}',
        created_at          timestamptz NOT NULL DEFAULT now(),
        UNIQUE (job_id, cluster_id, entity_id, platform)
    )
    """,
    "CREATE INDEX profile_matches_job ON profile_matches (job_id)",
    "CREATE INDEX profile_matches_tenant ON profile_matches (tenant_id)",
    "CREATE INDEX profile_matches_entity ON profile_matches (entity_id)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
