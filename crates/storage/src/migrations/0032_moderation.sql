-- A locked account can only log out; a suspended one reads, and changes nothing that others see.
ALTER TABLE accounts ADD COLUMN is_locked BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE accounts ADD COLUMN is_suspended BOOLEAN NOT NULL DEFAULT FALSE;

-- What users have reported. kind: 1 an event, 2 a room, 3 a user. user_sn: who sent the event, or the user that was reported.
CREATE TABLE reports (
    report_id SERIAL_KEY,
    kind BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    reporter_sn BIGINT NOT NULL,
    room_sn BIGINT,
    event_sn BIGINT,
    user_sn BIGINT,
    reason TEXT,
    score BIGINT
);
CREATE INDEX reports_by_kind ON reports (kind, report_id);
