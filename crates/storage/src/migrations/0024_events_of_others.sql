-- events.standing has two more values: 4 stored for others that refer to it, without a place in the room (an outlier), and 5 in the
-- timeline, in the past (backfilled).

-- Redactions that came before the events that they redact.
CREATE TABLE awaited_redactions (
    room_sn BIGINT NOT NULL,
    target_id TEXT NOT NULL,
    redaction_sn BIGINT NOT NULL,
    PRIMARY KEY (room_sn, target_id, redaction_sn)
) CLUSTERED;
