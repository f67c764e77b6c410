-- How many there are, kept by triggers, because counting a million rows is too slow for a health page.
CREATE TABLE tally (
    what TEXT NOT NULL, -- alert, notification, event
    name TEXT NOT NULL, -- a status or an outcome
    n    INTEGER NOT NULL,
    PRIMARY KEY (what, name)
) STRICT, WITHOUT ROWID;

INSERT INTO tally (what, name, n) VALUES
    ('alert', 'open', 0), ('alert', 'assigned', 0), ('alert', 'closed', 0),
    ('event', 'opened', 0), ('event', 'updated', 0), ('event', 'appended', 0), ('event', 'closed', 0),
    ('event', 'ignored', 0), ('event', 'filtered', 0), ('event', 'suppressed', 0), ('event', 'failed', 0);

-- `key` is a hash over the endpoint and the vendor's ids, each with its length before it: ids may be 10 KB long.
CREATE TABLE alert (
    id             INTEGER PRIMARY KEY,
    key            BLOB NOT NULL,
    endpoint_id    TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    status         TEXT NOT NULL,
    source         TEXT NOT NULL,
    source_name    TEXT NOT NULL,
    source_id      TEXT NOT NULL,
    source_url     TEXT,
    source_status  TEXT,
    severity       TEXT NOT NULL,
    subject        TEXT NOT NULL,
    description    TEXT,
    short_text     TEXT,
    assignee       TEXT,
    topic          TEXT,
    tags           TEXT NOT NULL, -- a JSON list
    count          INTEGER NOT NULL,
    changes        INTEGER NOT NULL,
    occurred_at    INTEGER,
    opened_at      INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    closed_at      INTEGER
) STRICT;

CREATE UNIQUE INDEX alert_key ON alert (key) WHERE status <> 'closed';
CREATE INDEX alert_status ON alert (status);
CREATE INDEX alert_integration ON alert (integration_id, status);

CREATE TRIGGER alert_inserted AFTER INSERT ON alert
BEGIN
    UPDATE tally SET n = n + 1 WHERE what = 'alert' AND name = new.status;
END;

CREATE TRIGGER alert_updated AFTER UPDATE OF status ON alert WHEN old.status <> new.status
BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'alert' AND name = old.status;
    UPDATE tally SET n = n + 1 WHERE what = 'alert' AND name = new.status;
END;

-- People say an alert's id aloud: it is not given again.
CREATE TRIGGER alert_deleted AFTER DELETE ON alert
BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'alert' AND name = old.status;
    UPDATE meta SET value = max(value, old.id) WHERE key = 'last_alert_id';
END;

CREATE TABLE change (
    alert_id      INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    actor         TEXT NOT NULL,
    message_id    INTEGER,
    text          TEXT,
    severity      TEXT,
    source_status TEXT,
    PRIMARY KEY (alert_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    message_id     INTEGER NOT NULL,
    run            INTEGER NOT NULL,
    position       INTEGER NOT NULL,
    endpoint_id    TEXT NOT NULL,
    integration_id TEXT,
    action         TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    reason         TEXT,
    alert_id       INTEGER,
    at             INTEGER NOT NULL,
    trace          TEXT NOT NULL, -- a JSON list
    PRIMARY KEY (message_id, run, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_outcome ON event (outcome);
CREATE INDEX event_endpoint ON event (endpoint_id, outcome);

-- Outcomes only add up, also when old events are deleted.
CREATE TRIGGER event_inserted AFTER INSERT ON event
BEGIN
    UPDATE tally SET n = n + 1 WHERE what = 'event' AND name = new.outcome;
END;

CREATE TABLE deferred (
    message_id  INTEGER PRIMARY KEY,
    endpoint_id TEXT NOT NULL,
    run         INTEGER NOT NULL,
    tries       INTEGER NOT NULL,
    reason      TEXT NOT NULL
) STRICT;

CREATE INDEX deferred_endpoint ON deferred (endpoint_id);
