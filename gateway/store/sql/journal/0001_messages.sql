-- The messages, as they came. The body is last, so that the rest of a row is read without it.
CREATE TABLE message (
    id          INTEGER PRIMARY KEY,
    endpoint_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    delivery_id TEXT,
    query       BLOB NOT NULL,
    headers     BLOB NOT NULL,
    body        BLOB NOT NULL
) STRICT;

-- A vendor's delivery is recorded once; messages without a delivery id cost this index nothing.
CREATE UNIQUE INDEX message_delivery ON message (endpoint_id, delivery_id) WHERE delivery_id IS NOT NULL;

-- Which endpoints occur in which span of 128 ids. It finds an endpoint's messages nearly as fast as an index on
-- message (endpoint_id), and that index would slow down append by a half where many endpoints send at once.
CREATE TABLE span (
    endpoint_id TEXT NOT NULL,
    span        INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, span)
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('last_id', 0);

-- Whoever deletes the newest messages: their ids are not given again.
CREATE TRIGGER message_deleted AFTER DELETE ON message
WHEN old.id > coalesce((SELECT max(id) FROM message), 0)
BEGIN
    UPDATE meta SET value = max(value, old.id) WHERE key = 'last_id';
END;
