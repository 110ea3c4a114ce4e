-- events.standing has two more values: 4 stored for others that refer to it, without a place in the room (an outlier), and 5 in the
-- timeline, in the past (backfilled).

-- Where events are missing from the timeline of a room: before event_sn, which names events that are not stored.
CREATE TABLE room_gaps (
    room_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    PRIMARY KEY (room_sn, event_sn)
) CLUSTERED;

-- Redactions that came before the events that they redact.
CREATE TABLE awaited_redactions (
    room_sn BIGINT NOT NULL,
    target_id TEXT NOT NULL,
    redaction_sn BIGINT NOT NULL,
    PRIMARY KEY (room_sn, target_id, redaction_sn)
) CLUSTERED;
