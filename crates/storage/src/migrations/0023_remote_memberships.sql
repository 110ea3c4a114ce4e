-- What users of this server are to rooms that the server is not in: invited, or asking to be let in; and how that ended. position: the one
-- of the change, as in memberships.event_sn. event: the member event, a whole PDU, NULL if nobody has sent one. state: a JSON list of
-- stripped state events that introduce the room.
CREATE TABLE remote_memberships (
    room_sn BIGINT NOT NULL,
    user_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    room_version TEXT NOT NULL,
    event BLOB,
    state BLOB NOT NULL,
    PRIMARY KEY (room_sn, user_sn)
) CLUSTERED;
