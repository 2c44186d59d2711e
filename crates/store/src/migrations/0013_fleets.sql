-- Fleets: runs over many targets. `state` is the machine's, as JSON: counts, never targets. `frozen` is what
-- all jobs have in common, for whoever makes them; `selected` says what the targets were chosen by. `live` is 1
-- while there is something to do by itself. `number` is the run's.

CREATE TABLE fleets (
    number BIGINT PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    organisation_id TEXT NOT NULL,
    title TEXT NOT NULL,
    frozen TEXT NOT NULL,
    selected TEXT NOT NULL,
    state TEXT NOT NULL,
    live BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX fleets_of_organisation ON fleets (organisation_id, number);
CREATE INDEX fleets_live ON fleets (number) WHERE live = 1;

-- What happened to a fleet as a whole. What happened to its targets stands in their rows.
CREATE TABLE fleet_events (
    run_number BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run_number, seq)
) CLUSTERED;

-- How a fleet stood in a minute, at its end: what a burn-down is drawn from.
CREATE TABLE fleet_points (
    run_number BIGINT NOT NULL,
    minute BIGINT NOT NULL,
    planned BIGINT NOT NULL,
    running BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    open BIGINT NOT NULL,
    landed BIGINT NOT NULL,
    PRIMARY KEY (run_number, minute)
) CLUSTERED;

-- One row for each target, in the order in which they are begun: those of a ring follow one another. `state`
-- is planned, running or the outcome of the newest job. What is planned when a fleet is cancelled stays so.
CREATE TABLE targets (
    run_number BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    organisation_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    repository TEXT NOT NULL,
    forge TEXT NOT NULL,
    owner TEXT,
    base TEXT,
    labels TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    job_id TEXT,
    kind TEXT,
    trouble TEXT,
    reason TEXT,
    instruction TEXT,
    pull_number BIGINT,
    review TEXT,
    verified BIGINT NOT NULL,
    cluster TEXT,
    PRIMARY KEY (run_number, ordinal)
) CLUSTERED;
CREATE INDEX targets_by_state ON targets (run_number, state, ordinal);
CREATE INDEX targets_by_trouble ON targets (run_number, trouble, ordinal) WHERE trouble IS NOT NULL;
CREATE INDEX targets_by_cluster ON targets (run_number, cluster, ordinal) WHERE cluster IS NOT NULL;
CREATE INDEX targets_by_review ON targets (run_number, review, ordinal) WHERE review IS NOT NULL;
CREATE UNIQUE INDEX targets_of_job ON targets (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX targets_of_pull ON targets (project_id, pull_number) WHERE pull_number IS NOT NULL;
CREATE INDEX targets_owned ON targets (organisation_id, owner)
    WHERE owner IS NOT NULL AND (state = 'running' OR review = 'open');

-- Something that is done to many changes, one after the other: `todo` has the targets' ordinals, `place` says
-- how many of them are through, `failures` what went wrong with which.
CREATE TABLE fleet_operations (
    run_number BIGINT NOT NULL,
    number BIGINT NOT NULL,
    what TEXT NOT NULL,
    who TEXT NOT NULL,
    detail TEXT NOT NULL,
    todo TEXT NOT NULL,
    place BIGINT NOT NULL,
    failures TEXT NOT NULL,
    at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (run_number, number)
);

-- What a fleet's changes have in common, as it was found last, and what people split off.
CREATE TABLE fleet_clusters (
    run_number BIGINT PRIMARY KEY,
    splits TEXT NOT NULL,
    clusters TEXT NOT NULL,
    digest TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- What was read of a change's diff, once for each head.
CREATE TABLE change_summaries (
    project_id TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (project_id, commit_id)
);
