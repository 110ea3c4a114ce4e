-- Which other server a member of a room is of; NULL for users who have an account here. What other servers ask and are sent is decided
-- by it, so it is looked up for each request.
INSERT INTO servers (server_name) SELECT DISTINCT substr(u.user_id, instr(u.user_id, ':') + 1) FROM users u
WHERE EXISTS (SELECT 1 FROM memberships m WHERE m.user_sn = u.user_sn AND m.is_local = FALSE) ON CONFLICT DO NOTHING;
ALTER TABLE memberships ADD COLUMN server_sn BIGINT;
UPDATE memberships SET server_sn = (SELECT s.server_sn FROM users u JOIN servers s
    ON s.server_name = substr(u.user_id, instr(u.user_id, ':') + 1) WHERE u.user_sn = memberships.user_sn) WHERE is_local = FALSE;
CREATE INDEX memberships_by_server ON memberships (server_sn, room_sn, membership) WHERE server_sn IS NOT NULL;

-- Keys of servers that share no room with this one are removed after a time, the oldest first.
CREATE INDEX server_keys_by_age ON server_keys (fetched_at);
