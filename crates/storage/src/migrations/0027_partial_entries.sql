-- Events by which this server has entered rooms. The server that has let it in has sent them to the others in the room.
CREATE TABLE room_entries (
    room_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    PRIMARY KEY (room_sn, event_sn)
) CLUSTERED;

-- Events by which this server has entered rooms with a part of the state before them, until all of it is known.
CREATE TABLE partial_entries (
    room_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    PRIMARY KEY (room_sn, event_sn)
) CLUSTERED;

-- Servers that are in these rooms, as another server said. They count as in the room until all members are known.
CREATE TABLE told_room_servers (
    server_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    PRIMARY KEY (server_sn, room_sn)
) CLUSTERED;
CREATE INDEX told_room_servers_by_room ON told_room_servers (room_sn);

-- Servers that may have missed what is in the log after this position: they were in a room, and this server did not know it.
CREATE TABLE overlooked_servers (
    server_sn BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);
