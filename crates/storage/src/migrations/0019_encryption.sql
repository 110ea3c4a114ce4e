-- Messages from device to device. A row is removed when the receiving device has proven to have it. event: the JSON that the device is
-- shown. position: where in the log it was sent; a device gets one message of a request at most.
CREATE TABLE to_device_messages (
    device_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    event BLOB NOT NULL,
    PRIMARY KEY (device_sn, position)
) CLUSTERED;

-- How much waits for each device, so that a limit costs no counting.
CREATE TABLE to_device_queues (
    device_sn BIGINT PRIMARY KEY,
    messages BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

-- Under which transaction IDs messages were sent. sender: as in client_transactions.
CREATE TABLE to_device_transactions (
    sender BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (sender, event_type, transaction_id)
) CLUSTERED;
CREATE INDEX to_device_transactions_by_age ON to_device_transactions (sent_at);

-- Identity keys, canonical JSON as the device signed it, without `unsigned`.
CREATE TABLE device_keys (
    device_sn BIGINT PRIMARY KEY,
    user_sn BIGINT NOT NULL,
    keys BLOB NOT NULL
);
CREATE INDEX device_keys_by_user ON device_keys (user_sn);

-- Keys that are given out once each, oldest first: in the order of key_number.
CREATE TABLE one_time_keys (
    key_number SERIAL_KEY,
    device_sn BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    key BLOB NOT NULL
);
CREATE UNIQUE INDEX one_time_keys_by_id ON one_time_keys (device_sn, algorithm, key_id);
CREATE INDEX one_time_keys_by_age ON one_time_keys (device_sn, algorithm, key_number);

-- One key of each algorithm, which is given out when there is no one-time key left. is_used: whether it was.
CREATE TABLE fallback_keys (
    device_sn BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    key BLOB NOT NULL,
    is_used BOOLEAN NOT NULL,
    PRIMARY KEY (device_sn, algorithm)
) CLUSTERED;

-- Every change of what others use to encrypt for a user, or to verify the user. seen_by_sn: only this user sees the change, if there is one.
CREATE TABLE device_list_changes (
    user_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    seen_by_sn BIGINT,
    PRIMARY KEY (user_sn, position)
) CLUSTERED;
CREATE INDEX device_list_changes_by_reader ON device_list_changes (seen_by_sn, position);

-- usage: 1 master, 2 self-signing, 3 user-signing. key: canonical JSON as it was uploaded.
CREATE TABLE cross_signing_keys (
    user_sn BIGINT NOT NULL,
    usage BIGINT NOT NULL,
    public_key TEXT NOT NULL,
    key BLOB NOT NULL,
    PRIMARY KEY (user_sn, usage)
) CLUSTERED;

-- Signatures that were uploaded after what they sign. target: the ID of a device, or the public part of a cross-signing key, of the user target_sn.
CREATE TABLE key_signatures (
    target_sn BIGINT NOT NULL,
    target TEXT NOT NULL,
    signer_sn BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (target_sn, target, signer_sn, key_id)
) CLUSTERED;
CREATE INDEX key_signatures_by_signer ON key_signatures (signer_sn, target_sn);

-- etag grows with every change of the sessions in a version. sessions: how many there are.
CREATE TABLE key_backups (
    user_sn BIGINT NOT NULL,
    version BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data BLOB NOT NULL,
    etag BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    is_deleted BOOLEAN NOT NULL,
    PRIMARY KEY (user_sn, version)
) CLUSTERED;

CREATE TABLE key_backup_sessions (
    user_sn BIGINT NOT NULL,
    version BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    is_verified BOOLEAN NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    session_data BLOB NOT NULL,
    PRIMARY KEY (user_sn, version, room_id, session_id)
) CLUSTERED;
