-- Third-party identifiers that users have proven to be theirs. address is in canonical form.
CREATE TABLE user_threepids (
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    user_sn BIGINT NOT NULL,
    validated_at BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (medium, address)
) CLUSTERED;
CREATE INDEX user_threepids_by_user ON user_threepids (user_sn);

-- Attempts to prove that an e-mail address is somebody's. purpose: what the proof is good for, and nothing else. mails: how
-- many mails were scheduled. wrong_tokens: how often somebody came with a token that was not sent.
CREATE TABLE threepid_validation_sessions (
    session_id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    address TEXT NOT NULL,
    client_secret_hash BLOB NOT NULL,
    send_attempt BIGINT NOT NULL,
    next_link TEXT,
    mails BIGINT NOT NULL,
    wrong_tokens BIGINT NOT NULL,
    validated_at BIGINT,
    expires_at BIGINT NOT NULL,
    UNIQUE (purpose, address, client_secret_hash)
);
CREATE INDEX threepid_validation_sessions_by_address ON threepid_validation_sessions (address, expires_at);
CREATE INDEX threepid_validation_sessions_by_age ON threepid_validation_sessions (expires_at);

-- What was sent, as SHA-256 hashes. Each mail of a session has a token of its own, and all are good.
CREATE TABLE threepid_validation_tokens (
    token_hash BLOB PRIMARY KEY,
    session_id TEXT NOT NULL
);
CREATE INDEX threepid_validation_tokens_by_session ON threepid_validation_tokens (session_id);
