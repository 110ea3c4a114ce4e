-- Messages to devices of users of other servers, until the server has acknowledged them. edu: the EDU as it is sent. position: where in the
-- log it was sent; a server gets one EDU of a request at most.
CREATE TABLE to_device_outbox (
    server_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    edu BLOB NOT NULL,
    PRIMARY KEY (server_sn, position)
) CLUSTERED;
CREATE INDEX to_device_outbox_by_position ON to_device_outbox (position, server_sn);

-- How much waits for each server, so that a limit costs no counting.
CREATE TABLE to_device_outbox_queues (
    server_sn BIGINT PRIMARY KEY,
    messages BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
