-- Runners that are told what to do, have labels, and join by one-time codes; jobs that need labels.
-- `runs_on` and `labels` are labels in alphabetical order, separated by commas. `wish` is work, drain
-- or restart.

ALTER TABLE jobs ADD COLUMN runs_on TEXT NOT NULL DEFAULT '';
DROP INDEX jobs_waiting;
CREATE INDEX jobs_waiting ON jobs (organisation_id, runs_on, not_before, number) WHERE standing = 'queued';

ALTER TABLE runners ADD COLUMN environments BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runners ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE runners ADD COLUMN wish TEXT NOT NULL DEFAULT 'work';
ALTER TABLE runners ADD COLUMN removed_at BIGINT;

ALTER TABLE service_tokens ADD COLUMN runner_id TEXT;
CREATE INDEX service_tokens_of_runner ON service_tokens (runner_id) WHERE runner_id IS NOT NULL;

-- A code that lets one runner join, once. `token_hash` is that of the token which the runner made for
-- itself, so that a call that is repeated after a lost answer is answered again.
CREATE TABLE runner_invitations (
    hash TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    who TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    token_hash TEXT,
    runner_id TEXT
);
