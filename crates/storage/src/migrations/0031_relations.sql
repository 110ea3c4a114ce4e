-- What the events of timelines relate to, by the ID of the other event, which may come later or never. timeline_order: the place of
-- the event that relates. annotation_key: what an annotation says, if it is not too long to be compared.
CREATE TABLE relations (
    target_id TEXT NOT NULL,
    room_sn BIGINT NOT NULL,
    timeline_order BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    rel_type TEXT NOT NULL,
    type_sn BIGINT NOT NULL,
    sender_sn BIGINT NOT NULL,
    annotation_key TEXT,
    PRIMARY KEY (target_id, room_sn, timeline_order)
) CLUSTERED;

-- The threads of rooms, and the place of the last event of each.
CREATE TABLE thread_roots (
    room_sn BIGINT NOT NULL,
    root_id TEXT NOT NULL,
    latest_order BIGINT NOT NULL,
    PRIMARY KEY (room_sn, root_id)
) CLUSTERED;
CREATE INDEX thread_roots_by_latest ON thread_roots (room_sn, latest_order);

-- The events up to here are older than these tables, and are still to be looked through. A job removes the row when it is done.
INSERT INTO server_values (name, value)
SELECT 'relations_missing_up_to', CAST(MAX(event_sn) AS TEXT) FROM events HAVING MAX(event_sn) IS NOT NULL;
