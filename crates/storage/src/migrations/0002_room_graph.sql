-- The states of rooms: maps from (event type, state key) to the event there, in chunks that are named by their contents and
-- shared by all states that have them. written_at: the position of the log behind which a chunk was last found to be needed.
CREATE TABLE state_chunks (
    chunk_id BLOB PRIMARY KEY,
    bytes BLOB NOT NULL,
    written_at BIGINT NOT NULL
) CLUSTERED;

-- state_root: the first chunk of the room's state after the event; NULL until it has been worked out for events that are older
-- than this column. standing: 0 in the timeline, 1 soft-failed, 2 rejected.
ALTER TABLE events ADD COLUMN standing BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN state_root BLOB;
ALTER TABLE room_heads ADD COLUMN state_root BLOB;
