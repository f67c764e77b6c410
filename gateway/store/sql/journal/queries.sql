-- name: append
INSERT INTO message (id, endpoint_id, received_at, delivery_id, query, headers, body) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: append_span
INSERT INTO span (endpoint_id, span) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: delivered
SELECT id FROM message WHERE endpoint_id = ? AND delivery_id = ?

-- name: head
SELECT max(coalesce((SELECT max(id) FROM message), 0), (SELECT value FROM meta WHERE key = 'last_id'))

-- name: touch
UPDATE meta SET value = value WHERE key = 'last_id'

-- name: forget
DELETE FROM message WHERE id IN (SELECT id FROM message WHERE id <= ? ORDER BY id LIMIT ?)

-- name: forget_spans
DELETE FROM span WHERE span < (SELECT coalesce(min(id), 0) FROM message) / 128

-- name: read
SELECT id, endpoint_id, received_at, delivery_id, query, headers, body FROM message WHERE id > ? ORDER BY id LIMIT ?

-- name: get
SELECT id, endpoint_id, received_at, delivery_id, query, headers, body
FROM message WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id

-- name: newest
SELECT id, endpoint_id, received_at, delivery_id, query, headers, body
FROM message WHERE id < ?1 ORDER BY id DESC LIMIT ?2

-- name: newest_of_endpoint
SELECT m.id, m.endpoint_id, m.received_at, m.delivery_id, m.query, m.headers, m.body
FROM span AS s CROSS JOIN message AS m
WHERE s.endpoint_id = ?3 AND s.span <= ?1 / 128
    AND m.id >= s.span * 128 AND m.id < s.span * 128 + 128
    AND m.id < ?1 AND m.endpoint_id = ?3
ORDER BY s.span DESC, m.id DESC LIMIT ?2
