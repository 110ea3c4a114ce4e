-- The one row holds the last position given out. Its lock orders the transactions that append to the log.
CREATE TABLE log_head (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    position BIGINT NOT NULL
);
INSERT INTO log_head (only_row, position) VALUES (1, 0);

-- Interned text.
CREATE TABLE users (user_sn SERIAL_KEY, user_id TEXT NOT NULL UNIQUE);
CREATE TABLE event_types (type_sn SERIAL_KEY, event_type TEXT NOT NULL UNIQUE);
CREATE TABLE state_keys (key_sn SERIAL_KEY, state_key TEXT NOT NULL UNIQUE);

-- Values that the server keeps about itself, such as the first account's token.
CREATE TABLE server_values (name TEXT PRIMARY KEY, value TEXT NOT NULL);

-- Accounts ---------------------------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    user_sn BIGINT PRIMARY KEY,
    password_hash TEXT,
    created_at BIGINT NOT NULL,
    is_admin BOOLEAN NOT NULL DEFAULT FALSE,
    is_guest BOOLEAN NOT NULL DEFAULT FALSE,
    deactivated_at BIGINT,
    user_type TEXT
);

CREATE TABLE devices (
    device_sn SERIAL_KEY,
    user_sn BIGINT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT,
    last_seen_address TEXT,
    UNIQUE (user_sn, device_id)
);

-- Tokens are kept as SHA-256 hashes.
CREATE TABLE access_tokens (
    token_hash BLOB PRIMARY KEY,
    user_sn BIGINT NOT NULL,
    device_sn BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    refresh_hash BLOB
);
CREATE INDEX access_tokens_by_device ON access_tokens (device_sn);
CREATE INDEX access_tokens_by_user ON access_tokens (user_sn);
CREATE INDEX access_tokens_by_refresh ON access_tokens (refresh_hash);

CREATE TABLE refresh_tokens (
    token_hash BLOB PRIMARY KEY,
    user_sn BIGINT NOT NULL,
    device_sn BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    next_hash BLOB
);
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_sn);

CREATE TABLE registration_tokens (
    token TEXT PRIMARY KEY,
    uses_allowed BIGINT,
    uses_pending BIGINT NOT NULL DEFAULT 0,
    uses_completed BIGINT NOT NULL DEFAULT 0,
    expires_at BIGINT,
    makes_admin BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE TABLE uia_sessions (
    session_id TEXT PRIMARY KEY,
    operation TEXT NOT NULL,
    user_sn BIGINT,
    completed TEXT NOT NULL,
    details TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX uia_sessions_by_age ON uia_sessions (created_at);

CREATE TABLE profile_fields (
    user_sn BIGINT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (user_sn, field)
) CLUSTERED;

-- room_sn is 0 for global account data.
CREATE TABLE account_data (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    data_type TEXT NOT NULL,
    content BLOB NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn, data_type)
) CLUSTERED;
CREATE INDEX account_data_by_position ON account_data (user_sn, position);

CREATE TABLE filters (
    user_sn BIGINT NOT NULL,
    filter_number BIGINT NOT NULL,
    content_hash BLOB NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (user_sn, filter_number),
    UNIQUE (user_sn, content_hash)
);

-- Rooms ------------------------------------------------------------------------------------------------------------------

CREATE TABLE rooms (room_sn SERIAL_KEY, room_id TEXT NOT NULL UNIQUE);

-- Where a room's timeline ends. head_version grows with each append: a writer that built on another version than the current one
-- starts over. extremities: the numbers of the events that no event refers to yet, separated by commas.
CREATE TABLE room_heads (
    room_sn BIGINT PRIMARY KEY,
    room_version TEXT NOT NULL,
    head_version BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    last_event_sn BIGINT NOT NULL,
    extremities TEXT NOT NULL,
    countable_total BIGINT NOT NULL,
    joined_count BIGINT NOT NULL,
    invited_count BIGINT NOT NULL
);

CREATE TABLE published_rooms (room_sn BIGINT PRIMARY KEY);

-- event_sn is the position in the log at which the server learned of the event.
-- countable_total: how many events that count as unread the room's timeline has up to and including this one.
CREATE TABLE events (
    event_sn BIGINT PRIMARY KEY,
    event_id TEXT NOT NULL,
    room_sn BIGINT NOT NULL,
    type_sn BIGINT NOT NULL,
    state_key_sn BIGINT,
    sender_sn BIGINT NOT NULL,
    origin_server_ts BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    countable_total BIGINT NOT NULL,
    replaces_sn BIGINT,
    redacted_by BIGINT,
    client_json BLOB NOT NULL,
    federation_json BLOB NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_room ON events (room_sn, event_sn);

CREATE TABLE current_state (
    room_sn BIGINT NOT NULL,
    type_sn BIGINT NOT NULL,
    key_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    PRIMARY KEY (room_sn, type_sn, key_sn)
) CLUSTERED;

-- Every change of a room's current state, in the order of the log.
CREATE TABLE state_changes (
    room_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    type_sn BIGINT NOT NULL,
    key_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    replaces_sn BIGINT,
    PRIMARY KEY (room_sn, position)
) CLUSTERED;
CREATE INDEX state_changes_by_key ON state_changes (room_sn, type_sn, key_sn, position);

-- membership: 1 join, 2 invite, 3 knock, 4 leave, 5 ban.
CREATE TABLE memberships (
    room_sn BIGINT NOT NULL,
    user_sn BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    is_forgotten BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (room_sn, user_sn)
) CLUSTERED;
CREATE INDEX memberships_by_user ON memberships (user_sn, membership);
CREATE INDEX memberships_by_room ON memberships (room_sn, membership, event_sn);

CREATE TABLE membership_changes (
    user_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    PRIMARY KEY (user_sn, position)
) CLUSTERED;

-- What a device sent under which transaction ID, so that a repetition has the same answer.
CREATE TABLE client_transactions (
    device_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    type_sn BIGINT NOT NULL,
    transaction_id TEXT NOT NULL,
    event_sn BIGINT NOT NULL,
    PRIMARY KEY (device_sn, room_sn, type_sn, transaction_id)
) CLUSTERED;
CREATE INDEX client_transactions_by_event ON client_transactions (event_sn);

-- Up to where a user has read a room; sending counts as reading.
CREATE TABLE read_positions (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    countable_total BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn)
) CLUSTERED;

CREATE TABLE room_aliases (
    alias TEXT PRIMARY KEY,
    room_sn BIGINT NOT NULL,
    creator_sn BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX room_aliases_by_room ON room_aliases (room_sn);
