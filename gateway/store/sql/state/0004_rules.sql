-- Recipient groups, maintenance windows, and what Advanced Settings need to know of an alert.
CREATE TABLE recipient_group (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    user_ids   TEXT NOT NULL, -- a JSON list
    created_at INTEGER NOT NULL
) STRICT;

-- Named after the words of SQL's own: `window` is one.
CREATE TABLE maintenance_window (
    id             TEXT PRIMARY KEY,
    integration_id TEXT NOT NULL REFERENCES integration (id) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    starts         TEXT NOT NULL, -- local times of the zone
    ends           TEXT NOT NULL,
    zone           TEXT NOT NULL,
    repeat         TEXT NOT NULL,
    days           TEXT NOT NULL, -- a JSON list
    reopen         INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    UNIQUE (integration_id, name)
) STRICT;

-- A problem that came in a maintenance window, by the hash of its alert's key, until the window ends.
CREATE TABLE suppressed (
    key_hash       BLOB PRIMARY KEY,
    key            TEXT NOT NULL, -- a JSON object
    integration_id TEXT NOT NULL,
    window_id      TEXT NOT NULL,
    until          INTEGER NOT NULL,
    message_id     INTEGER NOT NULL,
    reading        TEXT NOT NULL -- a JSON object
) STRICT;

CREATE INDEX suppressed_until ON suppressed (until);

-- When alerts of a key were opened, for integrations that look for flapping.
CREATE TABLE opening (
    key_hash BLOB NOT NULL,
    at       INTEGER NOT NULL -- twice the same, where it opened twice in one step
) STRICT;

CREATE INDEX opening_key ON opening (key_hash, at);

ALTER TABLE integration ADD COLUMN group_ids TEXT NOT NULL DEFAULT '[]'; -- a JSON list
ALTER TABLE integration ADD COLUMN user_ids TEXT NOT NULL DEFAULT '[]'; -- a JSON list

ALTER TABLE endpoint ADD COLUMN fan_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint ADD COLUMN token_from TEXT;
ALTER TABLE endpoint ADD COLUMN secret_from TEXT;

ALTER TABLE alert ADD COLUMN custom TEXT NOT NULL DEFAULT '{}'; -- a JSON object
ALTER TABLE alert ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE alert ADD COLUMN routing TEXT NOT NULL DEFAULT '{}'; -- a JSON object
ALTER TABLE alert ADD COLUMN told_at INTEGER;
ALTER TABLE alert ADD COLUMN openings TEXT NOT NULL DEFAULT '[]'; -- a JSON list
ALTER TABLE alert ADD COLUMN group_key TEXT;
ALTER TABLE alert ADD COLUMN leader_id INTEGER;
ALTER TABLE alert ADD COLUMN close_at INTEGER;

-- Until now everyone was told at once, by the policy that the integration has.
UPDATE alert SET told_at = opened_at;
UPDATE alert SET routing = (
    SELECT CASE WHEN policy_id IS NULL THEN '{}' ELSE json_object('policy_id', policy_id) END
    FROM integration WHERE integration.id = alert.integration_id
) WHERE integration_id IN (SELECT id FROM integration);

CREATE INDEX alert_close_at ON alert (close_at) WHERE close_at IS NOT NULL AND status <> 'closed';
CREATE INDEX alert_leader ON alert (leader_id) WHERE leader_id IS NOT NULL AND status <> 'closed';
CREATE INDEX alert_group ON alert (integration_id, group_key)
    WHERE group_key IS NOT NULL AND leader_id IS NULL AND status <> 'closed';

INSERT INTO tally (what, name, n) VALUES ('notification', 'withdrawn', 0);
