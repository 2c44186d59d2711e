-- Secrets and variables that jobs may be given. The value of a secret is sealed before it comes here,
-- and bound to its row and version; that of a variable is in clear. `owner` is the id of the
-- organisation, project or user that `scope` says.

CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    form TEXT NOT NULL,
    grants TEXT NOT NULL,
    version BIGINT NOT NULL,
    sealed BYTES,
    clear TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    UNIQUE (organisation_id, scope, owner, name)
);
CREATE INDEX secrets_of_organisation ON secrets (organisation_id, name, id);
