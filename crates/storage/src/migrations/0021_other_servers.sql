-- Other servers, by number.
CREATE TABLE servers (server_sn SERIAL_KEY, server_name TEXT NOT NULL UNIQUE);

-- The keys that other servers have published. document: the last signed document, as it was received. dropped: keys of earlier documents
-- that are not in it, in the form of its old_verify_keys; they count for what is older. fetched_at: when it was received.
CREATE TABLE server_keys (
    server_sn BIGINT PRIMARY KEY,
    document BLOB NOT NULL,
    dropped TEXT NOT NULL,
    fetched_at BIGINT NOT NULL
);

-- Servers that were not reached when they were last asked: how often in a row, since when, and when they may be asked again.
CREATE TABLE failing_servers (
    server_sn BIGINT PRIMARY KEY,
    failures BIGINT NOT NULL,
    failing_since BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL
);
