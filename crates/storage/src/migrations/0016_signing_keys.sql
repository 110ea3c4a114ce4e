-- The public halves of the keys that have signed this server's events, in unpadded base64. retired_at: since when a key signs nothing
-- any more, in milliseconds; NULL for the one that does.
CREATE TABLE signing_keys (
    key_id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    retired_at BIGINT
);
