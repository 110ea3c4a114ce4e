-- The states of rooms: maps from (event type, state key) to the event there, in chunks that are named by their contents and
-- shared by all states that have them. written_at: the position of the log behind which a chunk was last found to be needed.
CREATE TABLE state_chunks (
    chunk_id BLOB PRIMARY KEY,
    bytes BLOB NOT NULL,
    written_at BIGINT NOT NULL
) CLUSTERED;

-- state_root: the first chunk of the room's state after the event; NULL until it has been worked out for events that are older
-- than this column. standing: 0 in the timeline, 1 soft-failed, 2 rejected,
-- 3 hidden.
ALTER TABLE events ADD COLUMN standing BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN state_root BLOB;
ALTER TABLE room_heads ADD COLUMN state_root BLOB;

-- state_whole_since: the position of the log since which all of the room's state is known; 0 if it always was, NULL while it is
-- known in part.
ALTER TABLE room_heads ADD COLUMN state_whole_since BIGINT DEFAULT 0;
CREATE INDEX room_heads_partial ON room_heads (room_sn) WHERE state_whole_since IS NULL;

-- The chain cover of the auth chains of rooms: see the engine's module on auth chains. A chain has the number of its first
-- event. auth_events: the numbers of the event's auth events in their order, separated by commas.
CREATE TABLE auth_chain_events (
    event_sn BIGINT PRIMARY KEY,
    chain BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    auth_events TEXT NOT NULL
);
CREATE UNIQUE INDEX auth_chain_events_by_chain ON auth_chain_events (chain, seq);

-- Where a chain branches off another one.
CREATE TABLE auth_chain_starts (
    chain BIGINT PRIMARY KEY,
    parent_chain BIGINT NOT NULL,
    parent_seq BIGINT NOT NULL
);

CREATE TABLE auth_chain_links (
    from_chain BIGINT NOT NULL,
    from_seq BIGINT NOT NULL,
    to_chain BIGINT NOT NULL,
    to_seq BIGINT NOT NULL,
    PRIMARY KEY (from_chain, from_seq, to_chain)
) CLUSTERED;
CREATE INDEX auth_chain_links_by_target ON auth_chain_links (to_chain, to_seq);
