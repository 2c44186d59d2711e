-- Public keys by which people sign in over SSH. `id` is made from the key; `owner` is an actor (a user, or
-- a token that no user made) as JSON.

CREATE TABLE ssh_keys (
    id TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX ssh_keys_of_owner ON ssh_keys (organisation_id, owner);
