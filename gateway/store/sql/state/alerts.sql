-- name: set_cursor
UPDATE meta SET value = ? WHERE key = 'cursor'

-- name: next_alert_id
SELECT max(coalesce((SELECT max(id) FROM alert), 0), (SELECT value FROM meta WHERE key = 'last_alert_id')) + 1

-- name: alert
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert WHERE id = ?

-- name: open_alert
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert WHERE key = ? AND status <> 'closed'

-- name: alerts
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert WHERE id < ?1 ORDER BY id DESC LIMIT ?2

-- name: alerts_of_status
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert INDEXED BY alert_status WHERE id < ?1 AND status = ?3 ORDER BY id DESC LIMIT ?2

-- name: alerts_of_integration
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert INDEXED BY alert_integration WHERE id < ?1 AND status = ?3 AND integration_id = ?4 ORDER BY id DESC LIMIT ?2

-- name: write_alert
INSERT INTO alert
    (id, key, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    key = excluded.key, endpoint_id = excluded.endpoint_id, integration_id = excluded.integration_id,
    status = excluded.status, source = excluded.source, source_name = excluded.source_name,
    source_id = excluded.source_id, source_url = excluded.source_url, source_status = excluded.source_status,
    severity = excluded.severity, subject = excluded.subject, description = excluded.description,
    short_text = excluded.short_text, assignee = excluded.assignee, topic = excluded.topic, tags = excluded.tags,
    count = excluded.count, changes = excluded.changes, occurred_at = excluded.occurred_at,
    opened_at = excluded.opened_at, updated_at = excluded.updated_at, closed_at = excluded.closed_at,
    custom = excluded.custom, scope = excluded.scope, routing = excluded.routing, told_at = excluded.told_at,
    openings = excluded.openings, group_key = excluded.group_key, leader_id = excluded.leader_id,
    close_at = excluded.close_at

-- name: write_change
INSERT INTO change (alert_id, seq, at, kind, actor, message_id, text, severity, source_status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: timeline
SELECT alert_id, seq, at, kind, actor, message_id, text, severity, source_status
FROM change WHERE alert_id = ? ORDER BY seq

-- name: write_event
INSERT INTO event
    (message_id, run, position, endpoint_id, integration_id, action, outcome, reason, alert_id, at, trace)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: events
SELECT message_id, run, position, endpoint_id, integration_id, action, outcome, reason, alert_id, at, trace
FROM event WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY message_id, run, position

-- name: messages_with
SELECT DISTINCT message_id FROM event WHERE outcome = ?1 ORDER BY message_id DESC LIMIT ?2

-- name: messages_of_endpoint_with
SELECT DISTINCT message_id FROM event WHERE outcome = ?1 AND endpoint_id = ?3 ORDER BY message_id DESC LIMIT ?2

-- name: write_deferred
INSERT INTO deferred (message_id, endpoint_id, run, tries, reason) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (message_id) DO UPDATE SET
    endpoint_id = excluded.endpoint_id, run = excluded.run, tries = excluded.tries, reason = excluded.reason

-- name: defer
INSERT INTO deferred (message_id, endpoint_id, run, tries, reason) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (message_id) DO NOTHING

-- name: undefer
DELETE FROM deferred WHERE message_id = ?

-- name: deferred
SELECT message_id, endpoint_id, run, tries, reason FROM deferred ORDER BY message_id LIMIT ?

-- name: deferred_of_endpoints
SELECT message_id, endpoint_id, run, tries, reason FROM deferred
WHERE endpoint_id IN (SELECT value FROM json_each(?2)) ORDER BY message_id LIMIT ?1

-- name: tally
SELECT what, name, n FROM tally

-- name: count_deferred
SELECT count(*) FROM deferred

-- name: oldest_due
SELECT min(due_at) FROM pending

-- name: group_leaders
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert INDEXED BY alert_group
WHERE integration_id = ?1 AND group_key = ?2 AND leader_id IS NULL AND status <> 'closed' AND opened_at > ?3
ORDER BY id

-- name: group_members
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert INDEXED BY alert_leader
WHERE leader_id = ? AND leader_id IS NOT NULL AND status <> 'closed' ORDER BY id

-- name: silent
SELECT id, endpoint_id, integration_id, status, source, source_name, source_id, source_url, source_status, severity,
    subject, description, short_text, assignee, topic, tags, count, changes, occurred_at, opened_at, updated_at, closed_at,
    custom, scope, routing, told_at, openings, group_key, leader_id, close_at
FROM alert INDEXED BY alert_close_at
WHERE close_at IS NOT NULL AND close_at <= ?1 AND status <> 'closed' ORDER BY close_at, id LIMIT ?2

-- name: next_timer
SELECT (SELECT min(close_at) FROM alert INDEXED BY alert_close_at WHERE close_at IS NOT NULL AND status <> 'closed'),
    (SELECT min(until) FROM suppressed)

-- name: openings
SELECT at FROM opening WHERE key_hash = ?1 AND at > ?2 ORDER BY at

-- name: write_opening
INSERT INTO opening (key_hash, at) VALUES (?, ?)

-- name: forget_openings
DELETE FROM opening WHERE key_hash = ? AND at < ?

-- name: suppress
INSERT INTO suppressed (key_hash, key, integration_id, window_id, until, message_id, reading) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key_hash) DO UPDATE SET
    integration_id = excluded.integration_id, window_id = excluded.window_id, until = excluded.until,
    message_id = excluded.message_id, reading = excluded.reading

-- name: any_suppressed
SELECT 1 FROM suppressed LIMIT 1

-- name: unsuppress
DELETE FROM suppressed WHERE key_hash = ?

-- name: suppressed
SELECT key, integration_id, window_id, until, message_id, reading FROM suppressed WHERE until <= ?1
ORDER BY until, message_id LIMIT ?2
