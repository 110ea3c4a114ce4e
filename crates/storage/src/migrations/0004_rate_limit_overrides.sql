-- Users whose rate limits an administrator has changed. messages_per_second: 0 lifts all limits.
CREATE TABLE rate_limit_overrides (
    user_sn BIGINT PRIMARY KEY,
    messages_per_second BIGINT NOT NULL,
    burst BIGINT NOT NULL
);
