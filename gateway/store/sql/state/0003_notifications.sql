-- `n` counts notifications in the order in which they were made.
CREATE TABLE notification (
    n               INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    alert_id        INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    kind            TEXT NOT NULL,
    contact_id      TEXT NOT NULL,
    contact_kind    TEXT NOT NULL,
    contact_address TEXT NOT NULL,
    user            TEXT NOT NULL,
    integration     TEXT NOT NULL,
    status          TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    due_at          INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    error           TEXT,
    alert           TEXT NOT NULL -- a JSON object: the alert as the change left it
) STRICT;

CREATE INDEX notification_status ON notification (status);
CREATE INDEX notification_alert ON notification (alert_id);

-- A contact address. `ready_at` is the least one of its pending notifications, so that a claim passes over an address
-- with a thousand of them in one step.
CREATE TABLE target (
    id       INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    address  TEXT NOT NULL,
    ready_at INTEGER,
    UNIQUE (kind, address)
) STRICT;

CREATE INDEX target_ready ON target (ready_at) WHERE ready_at IS NOT NULL;

-- The pending notifications, as narrow rows. `ready_at` is `due_at` where nothing is in the way, else null: it is leased,
-- or an earlier one of the same alert to the same contact is not settled.
CREATE TABLE pending (
    n            INTEGER PRIMARY KEY REFERENCES notification (n) ON DELETE CASCADE,
    alert_id     INTEGER NOT NULL,
    contact_id   TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    target_id    INTEGER NOT NULL REFERENCES target (id),
    due_at       INTEGER NOT NULL,
    ready_at     INTEGER,
    leased_until INTEGER
) STRICT;

CREATE INDEX pending_order ON pending (alert_id, contact_id, seq);
CREATE INDEX pending_ready ON pending (target_id, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX pending_leased ON pending (leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX pending_due ON pending (due_at);

CREATE TABLE attempt (
    id              INTEGER PRIMARY KEY,
    notification_id TEXT NOT NULL REFERENCES notification (id) ON DELETE CASCADE,
    number          INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    code            INTEGER,
    error           TEXT,
    response        TEXT NOT NULL
) STRICT;

CREATE INDEX attempt_notification ON attempt (notification_id);

INSERT INTO tally (what, name, n) VALUES
    ('notification', 'pending', 0), ('notification', 'delivered', 0), ('notification', 'dead', 0);

CREATE TRIGGER notification_inserted AFTER INSERT ON notification
BEGIN
    UPDATE tally SET n = n + 1 WHERE what = 'notification' AND name = new.status;
END;

CREATE TRIGGER notification_updated AFTER UPDATE OF status ON notification WHEN old.status <> new.status
BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'notification' AND name = old.status;
    UPDATE tally SET n = n + 1 WHERE what = 'notification' AND name = new.status;
END;

CREATE TRIGGER notification_deleted AFTER DELETE ON notification
BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'notification' AND name = old.status;
END;
