-- Members with an account here, of rooms that may have a hundred thousand members of other servers.
ALTER TABLE memberships ADD COLUMN is_local BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE memberships SET is_local = TRUE WHERE user_sn IN (SELECT user_sn FROM accounts);
CREATE INDEX memberships_local ON memberships (is_local, room_sn, membership, is_forgotten) WHERE is_local = TRUE;

-- The directory in its order, the largest rooms first.
ALTER TABLE room_heads ADD COLUMN is_published BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE room_heads SET is_published = TRUE WHERE room_sn IN (SELECT room_sn FROM published_rooms);
DROP TABLE published_rooms;
CREATE INDEX room_heads_published ON room_heads (joined_count DESC, room_sn) WHERE is_published;

-- Rooms whose state has not been worked out yet.
CREATE INDEX room_heads_without_state ON room_heads (room_sn) WHERE state_root IS NULL;

-- Jobs that wait, run, or were given up, without those that have ended well.
CREATE INDEX jobs_counted ON jobs (name, state, due_at) WHERE state IN (0, 1, 3);
