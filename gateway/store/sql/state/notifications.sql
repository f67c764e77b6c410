-- name: add_target
INSERT INTO target (kind, address) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: write_notification
INSERT INTO notification
    (id, alert_id, seq, kind, contact_id, contact_kind, contact_address, user, integration, status, attempts, due_at,
    created_at, finished_at, error, alert)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING
RETURNING n

-- name: queue
INSERT INTO pending (n, alert_id, contact_id, seq, target_id, due_at)
SELECT n.n, n.alert_id, n.contact_id, n.seq, t.id, n.due_at
FROM notification AS n JOIN target AS t ON t.kind = n.contact_kind AND t.address = n.contact_address
WHERE n.n = ? AND n.status = 'pending'
ON CONFLICT (n) DO UPDATE SET due_at = excluded.due_at, leased_until = NULL
RETURNING alert_id, contact_id, target_id

-- name: unqueue
DELETE FROM pending WHERE n = ? RETURNING alert_id, contact_id, target_id

-- name: reorder
UPDATE pending SET ready_at = due_at
WHERE alert_id = ?1 AND contact_id = ?2 AND leased_until IS NULL AND ready_at IS NOT due_at
    AND seq = (SELECT min(seq) FROM pending WHERE alert_id = ?1 AND contact_id = ?2)

-- name: hold_back
UPDATE pending SET ready_at = NULL
WHERE alert_id = ?1 AND contact_id = ?2 AND ready_at IS NOT NULL
    AND (leased_until IS NOT NULL OR seq > (SELECT min(seq) FROM pending WHERE alert_id = ?1 AND contact_id = ?2))

-- name: retarget
UPDATE target SET ready_at = (SELECT min(ready_at) FROM pending WHERE target_id = ?1 AND ready_at IS NOT NULL)
WHERE id = ?1

-- name: earliest
SELECT (SELECT min(ready_at) FROM target WHERE ready_at IS NOT NULL),
    (SELECT min(leased_until) FROM pending WHERE leased_until IS NOT NULL)

-- name: end_leases
UPDATE pending SET leased_until = NULL WHERE leased_until <= ? RETURNING alert_id, contact_id, target_id

-- name: leased_by_target
SELECT target_id, count(*) FROM pending WHERE leased_until IS NOT NULL GROUP BY target_id

-- name: ready_targets
SELECT id FROM target WHERE ready_at <= ? ORDER BY ready_at, id LIMIT ?

-- name: ready
SELECT ready_at, n FROM pending WHERE target_id = ? AND ready_at <= ? ORDER BY ready_at, n LIMIT ?

-- name: lease
UPDATE pending SET leased_until = ?, ready_at = NULL WHERE n = ? RETURNING target_id

-- name: notification
SELECT id, alert_id, seq, kind, contact_id, contact_kind, contact_address, user, integration, status, attempts, due_at,
    created_at, finished_at, error, alert
FROM notification WHERE n = ?

-- name: notification_of_id
SELECT id, alert_id, seq, kind, contact_id, contact_kind, contact_address, user, integration, status, attempts, due_at,
    created_at, finished_at, error, alert
FROM notification WHERE id = ?

-- name: notifications
SELECT id, alert_id, seq, kind, contact_id, contact_kind, contact_address, user, integration, status, attempts, due_at,
    created_at, finished_at, error, alert
FROM notification ORDER BY n DESC LIMIT ?

-- name: notifications_of_status
SELECT id, alert_id, seq, kind, contact_id, contact_kind, contact_address, user, integration, status, attempts, due_at,
    created_at, finished_at, error, alert
FROM notification WHERE status = ?2 ORDER BY n DESC LIMIT ?1

-- name: notifications_of_alert
SELECT id, alert_id, seq, kind, contact_id, contact_kind, contact_address, user, integration, status, attempts, due_at,
    created_at, finished_at, error, alert
FROM notification WHERE alert_id = ?2 AND (?3 IS NULL OR status = ?3) ORDER BY n DESC LIMIT ?1

-- name: settle
UPDATE notification SET status = ?2, attempts = ?3, due_at = ?4, finished_at = ?5, error = ?6 WHERE id = ?1
RETURNING n

-- name: write_attempt
INSERT INTO attempt (notification_id, number, at, duration_ms, code, error, response) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: attempts
SELECT notification_id, number, at, duration_ms, code, error, response
FROM attempt WHERE notification_id = ? ORDER BY id

-- name: retry
UPDATE notification SET status = 'pending', attempts = 0, due_at = ?2, finished_at = NULL
WHERE id = ?1 AND status = 'dead'
RETURNING n

-- name: withdraw
UPDATE notification SET status = 'withdrawn', finished_at = ?2, error = ?3
WHERE alert_id = ?1 AND status = 'pending' AND kind = 'opened' AND attempts = 0 AND due_at > ?2
RETURNING n
