-- Logs (places are bytes) and sessions (places are entries): streams that only grow, and what is
-- kept beside them.

CREATE TABLE streams (
    id BIGINT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    kind TEXT NOT NULL,
    length BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (job_id, step_id, attempt, kind)
);

-- From `start` (without it, for entries) to `stop`. The content is either in the row or a blob.
CREATE TABLE stream_pieces (
    stream_id BIGINT NOT NULL,
    start BIGINT NOT NULL,
    stop BIGINT NOT NULL,
    content BYTES,
    blob TEXT,
    PRIMARY KEY (stream_id, start)
);

CREATE TABLE artifacts (
    job_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    organisation_id TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    size BIGINT NOT NULL,
    content BYTES,
    blob TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (job_id, step_id, kind)
);

-- Every blob that something refers to.
CREATE TABLE blobs (
    hash TEXT PRIMARY KEY,
    size BIGINT NOT NULL
);
