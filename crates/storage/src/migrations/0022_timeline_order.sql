-- timeline_order: where an event that was fetched later (standing 5) is in its room's timeline; NULL for others, whose place follows
-- from their position. In the index, events that are only stored for checking (standing 4) come before all places. The index has
-- every event of a room, and no row of an old database is written again.
-- follows_gap: whether events of the room that come before it were missing when it was stored.
ALTER TABLE events ADD COLUMN timeline_order BIGINT;
ALTER TABLE events ADD COLUMN follows_gap BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX events_by_order ON events (room_sn, (CASE WHEN standing = 4 THEN event_sn - 4611686018427387904 ELSE COALESCE(timeline_order, event_sn * 1048576) END));
DROP INDEX events_by_room;

-- Where timelines lack events. timeline_order: the place before which they are missing. frontier: the numbers of the events whose
-- previous events are missing, separated by commas; empty once the gap is filled.
CREATE TABLE room_gaps (
    room_sn BIGINT NOT NULL,
    timeline_order BIGINT NOT NULL,
    frontier TEXT NOT NULL,
    PRIMARY KEY (room_sn, timeline_order)
) CLUSTERED;
