-- Tokens by which users show other services who they are, as SHA-256 hashes.
CREATE TABLE openid_tokens (
    token_hash BLOB PRIMARY KEY,
    user_sn BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX openid_tokens_by_expiry ON openid_tokens (expires_at);
CREATE INDEX openid_tokens_by_user ON openid_tokens (user_sn, expires_at);
