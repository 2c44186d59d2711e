-- Pull requests of the local forge: a journal each, the whole state as JSON, and what lists need.

CREATE TABLE pulls (
    project_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    organisation_id TEXT NOT NULL,
    place BIGINT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    review TEXT NOT NULL,
    base TEXT NOT NULL,
    head TEXT NOT NULL,
    head_commit TEXT NOT NULL,
    opened_by TEXT NOT NULL,
    job_id TEXT,
    state_json TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, number)
);
CREATE UNIQUE INDEX pulls_open ON pulls (project_id, head, base) WHERE state = 'open';
CREATE INDEX pulls_of_organisation ON pulls (organisation_id, updated_at, project_id, number);
CREATE INDEX pulls_by_state ON pulls (organisation_id, state, updated_at, project_id, number);
CREATE INDEX pulls_of_project ON pulls (project_id, updated_at, number);
CREATE INDEX pulls_of_project_by_state ON pulls (project_id, state, updated_at, number);
SEARCH pulls_search;

CREATE TABLE pull_events (
    project_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (project_id, number, seq)
) CLUSTERED;
