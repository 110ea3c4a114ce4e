-- The device of a user that is kept for clients to come, if there is one. device_data: what a client needs to use it, which only clients read.
CREATE TABLE dehydrated_devices (
    user_sn BIGINT PRIMARY KEY,
    device_sn BIGINT NOT NULL UNIQUE,
    device_data BLOB NOT NULL
);

-- Places where two clients meet before they can trust each other. version: grows with every payload. opened_by: the address of the client
-- that opened it.
CREATE TABLE rendezvous_sessions (
    session_id TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    payload BLOB NOT NULL,
    opened_by TEXT NOT NULL,
    written_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX rendezvous_sessions_by_expiry ON rendezvous_sessions (expires_at);
CREATE INDEX rendezvous_sessions_by_opener ON rendezvous_sessions (opened_by, expires_at);
