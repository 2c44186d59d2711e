-- Events: what happened, once each, whatever it came from. What lists filter by stands in columns;
-- `cause`, `ancestry` and `data` are JSON. `number` is the order of arrival. `repeats` is the event that
-- one says again, for those that somebody replayed.
-- Each filter has an index that is in the order of pages. `since` needs none of its own: ids begin with
-- the time of their making, and so does their index.

CREATE TABLE events (
    number BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    organisation_id TEXT NOT NULL,
    source TEXT NOT NULL,
    delivery TEXT NOT NULL,
    kind TEXT NOT NULL,
    family TEXT NOT NULL,
    subject TEXT,
    project_id TEXT,
    actor TEXT,
    cause TEXT,
    trust TEXT NOT NULL,
    at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    ancestry TEXT NOT NULL,
    data TEXT NOT NULL,
    repeats TEXT,
    handled_at BIGINT,
    outcome TEXT,
    UNIQUE (organisation_id, source, delivery)
);
CREATE INDEX events_of_organisation ON events (organisation_id, number);
CREATE INDEX events_by_source ON events (organisation_id, source, number);
CREATE INDEX events_by_family ON events (organisation_id, family, number);
CREATE INDEX events_by_kind ON events (organisation_id, kind, number);
CREATE INDEX events_of_project ON events (organisation_id, project_id, number) WHERE project_id IS NOT NULL;
CREATE INDEX events_by_subject ON events (organisation_id, subject, number) WHERE subject IS NOT NULL;
CREATE INDEX events_by_actor ON events (organisation_id, actor, number) WHERE actor IS NOT NULL;
CREATE INDEX events_unhandled ON events (number) WHERE handled_at IS NULL;
SEARCH events_search;

-- What triggers made of events: one row for each trigger that looked at an event and had something to
-- say about it. `trigger_key` is the trigger's own name for itself, `automation` the name of what it belongs
-- to; `run_id` is the run that it started.
CREATE TABLE firings (
    number BIGINT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    automation TEXT NOT NULL,
    trigger_key TEXT NOT NULL,
    run_id TEXT,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    UNIQUE (event_id, trigger_key)
);
CREATE INDEX firings_of_trigger ON firings (organisation_id, trigger_key, number);
CREATE INDEX firings_of_run ON firings (run_id) WHERE run_id IS NOT NULL;

-- Places that receive webhooks. The secret is sealed and bound to its version; `before` is the one that
-- is still taken while senders change over, until `before_until`, or until somebody ends that.
CREATE TABLE hooks (
    organisation_id TEXT NOT NULL,
    name TEXT NOT NULL,
    scheme TEXT NOT NULL,
    trust TEXT NOT NULL,
    project_id TEXT,
    version BIGINT NOT NULL,
    sealed BYTES NOT NULL,
    before BYTES,
    before_until BIGINT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, name)
);

-- Deliveries of webhooks were the events before. Their ids are made of their numbers: sorted before all
-- that are made since. Their data is in the form of their time.
INSERT INTO events (number, id, organisation_id, source, delivery, kind, family, project_id, trust, at,
    received_at, ancestry, data, handled_at, outcome)
SELECT number,
    'evt_' || substr('00000000000000000000000000', 1, 26 - length(number || '')) || number,
    organisation_id, source, delivery_id, 'github.delivery', 'github',
    CASE WHEN source LIKE 'github/prj!_%' ESCAPE '!' THEN substr(source, 8) END,
    'public', received_at, received_at, '[]', event, handled_at, outcome
FROM deliveries;
DROP TABLE deliveries;
