-- Environments that live by themselves: the journal is the truth, the row a projection of it with
-- what is too busy for the journal beside it (`active_at`, and what the runner said of the last start).
-- `number` is the order of creation. A name is free again once its environment is gone for good.

CREATE TABLE environments (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    organisation_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    phase TEXT NOT NULL,
    is_live BIGINT NOT NULL,
    is_there BIGINT NOT NULL,
    runner_id TEXT,
    seq BIGINT NOT NULL,
    state TEXT NOT NULL,
    report TEXT NOT NULL,
    watch_at BIGINT,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX environments_by_number ON environments (organisation_id, number);
CREATE UNIQUE INDEX environments_by_name ON environments (organisation_id, name) WHERE is_there = 1;
CREATE INDEX environments_of_runner ON environments (runner_id) WHERE is_there = 1;
CREATE INDEX environments_waiting ON environments (organisation_id, number) WHERE phase = 'creating';
CREATE INDEX environments_watched ON environments (watch_at) WHERE watch_at IS NOT NULL;

-- One row per decision of the environment machine: `seq` is the number of its last event, `events` a
-- JSON array of what happened then.
CREATE TABLE environment_events (
    environment_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    organisation_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    events TEXT NOT NULL,
    PRIMARY KEY (environment_id, seq)
) CLUSTERED;

-- Work of an environment that no repository had, as a bundle. Outlives the environment.
CREATE TABLE environment_work (
    environment_id TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    size BIGINT NOT NULL,
    content BYTES,
    blob TEXT,
    at BIGINT NOT NULL
);
