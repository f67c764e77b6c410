-- Single figures: config_version, the cursor into the journal, the last alert id that was deleted.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('config_version', 1), ('cursor', 0), ('last_alert_id', 0);

CREATE TABLE endpoint (
    id                  TEXT PRIMARY KEY,
    name                TEXT NOT NULL,
    token_hash          BLOB NOT NULL UNIQUE,
    token_hint          TEXT NOT NULL,
    previous_token_hash BLOB,
    previous_until      INTEGER,
    secret              BLOB,
    previous_secret     BLOB,
    created_at          INTEGER NOT NULL
) STRICT;

CREATE INDEX endpoint_previous ON endpoint (previous_token_hash) WHERE previous_token_hash IS NOT NULL;

CREATE TABLE policy (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE policy_step (
    policy_id TEXT NOT NULL REFERENCES policy (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    after     INTEGER NOT NULL,
    user_ids  TEXT NOT NULL, -- a JSON list
    PRIMARY KEY (policy_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE integration (
    id          TEXT PRIMARY KEY,
    endpoint_id TEXT NOT NULL REFERENCES endpoint (id),
    name        TEXT NOT NULL UNIQUE,
    template    TEXT NOT NULL,
    enabled     INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    policy_id   TEXT REFERENCES policy (id),
    settings    TEXT NOT NULL, -- a JSON object
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX integration_endpoint ON integration (endpoint_id);
CREATE INDEX integration_policy ON integration (policy_id);

CREATE TABLE user (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE contact (
    id       TEXT PRIMARY KEY,
    user_id  TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    address  TEXT NOT NULL,
    UNIQUE (user_id, position)
) STRICT;
