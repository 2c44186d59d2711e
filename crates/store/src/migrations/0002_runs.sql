-- Runs and jobs: the journal is the truth, everything else here is a projection of it.
-- `number` is the order of creation of runs and jobs in one sequence: what pages are cut by.
-- `standing` is queued, running, or the outcome.

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    organisation_id TEXT NOT NULL,
    title TEXT NOT NULL,
    who TEXT NOT NULL,
    standing TEXT NOT NULL,
    jobs BIGINT NOT NULL,
    begun BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    gave_up BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT
);
CREATE UNIQUE INDEX runs_by_number ON runs (number);
CREATE INDEX runs_of_organisation ON runs (organisation_id, number);
CREATE INDEX runs_live ON runs (organisation_id, number) WHERE ended_at IS NULL;
CREATE INDEX runs_ended ON runs (organisation_id, standing, number) WHERE ended_at IS NOT NULL;
SEARCH runs_search;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    organisation_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    run_number BIGINT NOT NULL,
    project_id TEXT NOT NULL,
    title TEXT NOT NULL,
    standing TEXT NOT NULL,
    seq BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    runner_id TEXT,
    not_before BIGINT,
    watch_at BIGINT,
    ending TEXT,
    pull_number BIGINT,
    pull_url TEXT,
    tokens BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT
);
CREATE UNIQUE INDEX jobs_of_run ON jobs (run_number, number);
CREATE INDEX jobs_of_organisation ON jobs (organisation_id, number);
CREATE INDEX jobs_of_project ON jobs (project_id, number);
CREATE INDEX jobs_waiting ON jobs (organisation_id, not_before, number) WHERE standing = 'queued';
CREATE INDEX jobs_live ON jobs (organisation_id, number) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (organisation_id, standing, number) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_ended_of_project ON jobs (project_id, standing, number) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_ended_and_watched ON jobs (watch_at) WHERE ended_at IS NOT NULL AND watch_at IS NOT NULL;

-- One row per decision of the job machine: `seq` is the number of its last event, `events` a JSON
-- array of what happened then.
CREATE TABLE job_events (
    job_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    events TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
) CLUSTERED;

CREATE TABLE effects (
    effect_key TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    step_id TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    staged_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX effects_of_job ON effects (job_id, place);

-- Effects that the server executes and whose end is not recorded yet.
CREATE TABLE outbox (
    effect_key TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    due BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    problem TEXT
);
CREATE INDEX outbox_by_due ON outbox (due);

CREATE TABLE feed (
    organisation_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    subject TEXT NOT NULL,
    id TEXT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (organisation_id, seq)
) CLUSTERED;

-- How many jobs stand how: per organisation (`scope` empty) and per project.
CREATE TABLE counters (
    organisation_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, scope, name)
) CLUSTERED;

CREATE TABLE runners (
    id TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    capacity BIGINT NOT NULL,
    registered_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
CREATE INDEX runners_of_organisation ON runners (organisation_id, seen_at);

-- What was answered to a request with an idempotency key.
CREATE TABLE answers (
    organisation_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    name TEXT NOT NULL,
    request TEXT NOT NULL,
    status BIGINT NOT NULL,
    body TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, actor, name)
);

CREATE TABLE deliveries (
    number BIGINT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    source TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    event TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    handled_at BIGINT,
    outcome TEXT,
    UNIQUE (source, delivery_id)
);
CREATE INDEX deliveries_unhandled ON deliveries (number) WHERE handled_at IS NULL;
