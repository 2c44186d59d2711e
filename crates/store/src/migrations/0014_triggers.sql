-- Triggers: what they remember of what they started, when schedules fired last, whose turn it is, and what
-- is not well. `same` is what makes two events the same for a trigger, `about` what its cooldown counts
-- for; both only stand where a run was started.

ALTER TABLE firings ADD COLUMN same TEXT;
ALTER TABLE firings ADD COLUMN about TEXT;
CREATE INDEX firings_started ON firings (organisation_id, trigger_key, number) WHERE run_id IS NOT NULL;
CREATE INDEX firings_same ON firings (organisation_id, trigger_key, same, number) WHERE run_id IS NOT NULL;
CREATE INDEX firings_about ON firings (organisation_id, trigger_key, about, number) WHERE run_id IS NOT NULL;

-- Up to which fire everything of a schedule is handled, by its trigger. What is paused or gone has no row.
CREATE TABLE schedules (
    organisation_id TEXT NOT NULL,
    trigger_key TEXT NOT NULL,
    handled BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, trigger_key)
);

-- Whose turn it is, where runs of an automation must not be at the same thing: a run has a row for each
-- thing that it is at, from its making to its end. It goes on once no row for the same thing has a
-- smaller number; until then its jobs are held.
CREATE TABLE turns (
    organisation_id TEXT NOT NULL,
    automation TEXT NOT NULL,
    thing TEXT NOT NULL,
    number BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    held BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, automation, thing, number)
);
CREATE INDEX turns_of_run ON turns (run_id);

-- What is not well, one row for each kind and subject; resolved when it is well again.
CREATE TABLE notices (
    organisation_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    since BIGINT NOT NULL,
    resolved_at BIGINT,
    PRIMARY KEY (organisation_id, kind, subject)
);
CREATE INDEX notices_by_time ON notices (organisation_id, since);
CREATE INDEX notices_open ON notices (organisation_id, since) WHERE resolved_at IS NULL;
