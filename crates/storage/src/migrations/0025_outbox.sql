-- Which servers have, or once had, members in which rooms. Who is in a room now is in memberships.
CREATE TABLE room_servers (
    server_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    PRIMARY KEY (server_sn, room_sn)
) CLUSTERED;
CREATE INDEX room_servers_by_room ON room_servers (room_sn);

-- Servers that do not have everything yet that is meant for them. sent_up_to: the position of the log up to which they do.
CREATE TABLE destinations (
    server_sn BIGINT PRIMARY KEY,
    sent_up_to BIGINT NOT NULL
);

-- The one row holds the position of the log up to which all other servers have everything.
CREATE TABLE outbox_head (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    position BIGINT NOT NULL
);
INSERT INTO outbox_head (only_row, position) SELECT 1, position FROM log_head;

-- Events of users of other servers that this one passes on to the rest of their room, by when it was asked to.
CREATE TABLE forwarded_events (
    position BIGINT PRIMARY KEY,
    room_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL
);
CREATE INDEX forwarded_events_by_room ON forwarded_events (room_sn, position);
CREATE INDEX forwarded_events_by_event ON forwarded_events (event_sn);
