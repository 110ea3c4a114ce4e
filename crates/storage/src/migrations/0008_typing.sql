-- Who types in which room. expires_at: when that ends, or has ended. position: when it last began or ended.
CREATE TABLE typing (
    room_sn BIGINT NOT NULL,
    user_sn BIGINT NOT NULL,
    has_ended BOOLEAN NOT NULL,
    expires_at BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room_sn, user_sn)
) CLUSTERED;
CREATE INDEX typing_by_position ON typing (room_sn, position);
CREATE INDEX typing_by_expiry ON typing (has_ended, expires_at);
