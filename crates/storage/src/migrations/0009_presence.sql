-- What was last told of users' presence. state: 1 offline, 2 unavailable, 3 online. seen_at: when a server last said that the user is
-- still there, for those who are not offline. position: when it was told.
CREATE TABLE presence (
    user_sn BIGINT PRIMARY KEY,
    state BIGINT NOT NULL,
    status_message TEXT,
    last_active_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX presence_by_position ON presence (position);
CREATE INDEX presence_by_state ON presence (state, seen_at);
