-- Automations: what an organisation has, by name. `version` is the one that is in force; a removed one
-- keeps its row and its versions, so that a name that comes back goes on counting. `paused` is JSON: when,
-- who, why. `applied` is JSON: who applied the version in force, on whose behalf its runs go on.
CREATE TABLE automations (
    organisation_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    applied TEXT NOT NULL,
    paused TEXT,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    removed_at BIGINT,
    PRIMARY KEY (organisation_id, name)
);

-- Every version that each ever had, as it was applied. `origin` is JSON: where it came from.
CREATE TABLE automation_versions (
    organisation_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    file TEXT NOT NULL,
    text TEXT NOT NULL,
    digest TEXT NOT NULL,
    origin TEXT NOT NULL,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, name, version)
) CLUSTERED;

-- Where automations come from by themselves: a project whose files are the truth. `commit_id` is what was
-- applied last.
CREATE TABLE automation_sources (
    organisation_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, project_id)
);

-- Which version of which automation a run is of. `version` is 0 for a file that nobody applied; `digest` says
-- which text it was in any case.
CREATE TABLE automation_runs (
    run_number BIGINT PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    organisation_id TEXT NOT NULL,
    automation TEXT NOT NULL,
    version BIGINT NOT NULL,
    digest TEXT NOT NULL
);
CREATE INDEX automation_runs_of_automation ON automation_runs (organisation_id, automation, run_number);
