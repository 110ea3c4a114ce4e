-- The keys of users of other servers with whom a room is shared, from the first time that somebody asks for them.
-- version: grows with every change that their server tells of, so that an answer which was under way then is not taken for the newest.
-- stream_id: the number of the last change by the server's count; NULL if it has not told. is_current: whether nothing has been told
-- since that is not in `keys`. asked_at: the end of the log when the keys were asked for. keys: NULL if they were never told.
CREATE TABLE remote_device_lists (
    user_sn BIGINT PRIMARY KEY,
    server_sn BIGINT NOT NULL,
    version BIGINT NOT NULL,
    stream_id BIGINT,
    is_current BOOLEAN NOT NULL,
    asked_at BIGINT NOT NULL,
    keys BLOB
);
CREATE INDEX remote_device_lists_outdated ON remote_device_lists (server_sn, user_sn) WHERE NOT is_current;

-- Tokens by which users log in another device, as SHA-256 hashes.
CREATE TABLE login_tokens (
    token_hash BLOB PRIMARY KEY,
    user_sn BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX login_tokens_by_expiry ON login_tokens (expires_at);
CREATE INDEX login_tokens_by_user ON login_tokens (user_sn, expires_at);
