-- name: meta
SELECT value FROM meta WHERE key = ?

-- name: config_changed
UPDATE meta SET value = value + 1 WHERE key = 'config_version'

-- name: endpoints
SELECT id, name, token_hash, token_hint, previous_token_hash, previous_until, secret, previous_secret, created_at,
    fan_out, token_from, secret_from
FROM endpoint ORDER BY created_at, id

-- name: endpoint_by_token
SELECT id, name, token_hash, token_hint, previous_token_hash, previous_until, secret, previous_secret, created_at,
    fan_out, token_from, secret_from
FROM endpoint WHERE token_hash = ?1 OR previous_token_hash = ?1 ORDER BY token_hash = ?1 DESC LIMIT 1

-- name: add_endpoint
INSERT INTO endpoint
    (id, name, token_hash, token_hint, previous_token_hash, previous_until, secret, previous_secret, created_at, fan_out,
    token_from, secret_from)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_endpoint
UPDATE endpoint
SET name = ?2, token_hash = ?3, token_hint = ?4, previous_token_hash = ?5, previous_until = ?6, secret = ?7,
    previous_secret = ?8, created_at = ?9, fan_out = ?10, token_from = ?11, secret_from = ?12
WHERE id = ?1

-- name: integrations
SELECT id, endpoint_id, name, template, enabled, sequence, policy_id, settings, created_at, updated_at,
    group_ids, user_ids
FROM integration ORDER BY name

-- name: integration
SELECT id, endpoint_id, name, template, enabled, sequence, policy_id, settings, created_at, updated_at,
    group_ids, user_ids
FROM integration WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1

-- name: add_integration
INSERT INTO integration
    (id, endpoint_id, name, template, enabled, sequence, policy_id, settings, created_at, updated_at, group_ids, user_ids)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_integration
UPDATE integration
SET endpoint_id = ?2, name = ?3, template = ?4, enabled = ?5, sequence = ?6, policy_id = ?7, settings = ?8,
    created_at = ?9, updated_at = ?10, group_ids = ?11, user_ids = ?12
WHERE id = ?1

-- name: delete_integration
DELETE FROM integration WHERE id = ? RETURNING endpoint_id

-- name: delete_endpoint_if_unused
DELETE FROM endpoint WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM integration WHERE endpoint_id = ?1)

-- name: users
SELECT id, name, created_at FROM user ORDER BY name

-- name: contacts
SELECT user_id, id, kind, address FROM contact ORDER BY user_id, position

-- name: add_user
INSERT INTO user (id, name, created_at) VALUES (?, ?, ?)

-- name: add_contact
INSERT INTO contact (id, user_id, position, kind, address) VALUES (?, ?, ?, ?, ?)

-- name: policies
SELECT id, name, created_at FROM policy ORDER BY name

-- name: policy_steps
SELECT policy_id, user_ids, after FROM policy_step ORDER BY policy_id, position

-- name: add_policy
INSERT INTO policy (id, name, created_at) VALUES (?, ?, ?)

-- name: add_policy_step
INSERT INTO policy_step (policy_id, position, user_ids, after) VALUES (?, ?, ?, ?)

-- name: save_user
UPDATE user SET name = ?2, created_at = ?3 WHERE id = ?1

-- name: delete_contacts
DELETE FROM contact WHERE user_id = ?

-- name: delete_user
DELETE FROM user WHERE id = ?

-- name: save_policy
UPDATE policy SET name = ?2, created_at = ?3 WHERE id = ?1

-- name: delete_policy_steps
DELETE FROM policy_step WHERE policy_id = ?

-- name: delete_policy
DELETE FROM policy WHERE id = ?

-- name: groups
SELECT id, name, user_ids, created_at FROM recipient_group ORDER BY name

-- name: add_group
INSERT INTO recipient_group (id, name, user_ids, created_at) VALUES (?, ?, ?, ?)

-- name: save_group
UPDATE recipient_group SET name = ?2, user_ids = ?3, created_at = ?4 WHERE id = ?1

-- name: delete_group
DELETE FROM recipient_group WHERE id = ?

-- name: windows
SELECT id, integration_id, name, starts, ends, zone, repeat, days, reopen, created_at
FROM maintenance_window ORDER BY integration_id, name

-- name: add_window
INSERT INTO maintenance_window (id, integration_id, name, starts, ends, zone, repeat, days, reopen, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: delete_window
DELETE FROM maintenance_window WHERE id = ?

-- name: end_suppression
UPDATE suppressed SET until = ?2 WHERE window_id = ?1
