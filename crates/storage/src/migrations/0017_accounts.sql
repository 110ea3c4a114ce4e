-- Whose sessions, password or rights were changed, for other processes on this database that remember them.
CREATE TABLE account_changes (
    position BIGINT PRIMARY KEY,
    user_sn BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- opener: the user or the address that a session counts for. parameters: what the requests so far have asked for. outcome: set once
-- the operation was done; the same request has the same answer then.
ALTER TABLE uia_sessions ADD COLUMN opener TEXT NOT NULL DEFAULT '';
ALTER TABLE uia_sessions ADD COLUMN parameters TEXT NOT NULL DEFAULT '{}';
ALTER TABLE uia_sessions ADD COLUMN outcome TEXT;
CREATE INDEX uia_sessions_by_opener ON uia_sessions (opener, created_at);

-- A device has been used from the moment that it exists.
UPDATE devices SET last_seen_at = created_at WHERE last_seen_at IS NULL;

-- The first account has been made: nobody becomes an administrator by the token for it any more.
DELETE FROM registration_tokens WHERE makes_admin AND EXISTS (SELECT 1 FROM accounts WHERE NOT is_guest);

