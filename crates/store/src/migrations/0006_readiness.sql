-- How ready projects were found to be for agents, over time. The report is JSON of a version of its own;
-- the columns beside it are those by which lists and pages look.

CREATE TABLE readiness (
    job_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    organisation_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    score BIGINT NOT NULL,
    report TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (job_id, step_id)
);
CREATE INDEX readiness_of_project ON readiness (project_id, at, job_id);
