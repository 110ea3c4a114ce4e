-- Push rules, of those users who changed anything: only what differs from the default rules. position: when they last did.
CREATE TABLE push_rules (
    user_sn BIGINT PRIMARY KEY,
    rules BLOB NOT NULL,
    position BIGINT NOT NULL
);

-- How far users have read. receipt_type: 1 m.read, 2 m.read.private. thread_sn: the root of a thread, 0 the main timeline, -1 all
-- of them (an unthreaded receipt). position: when the receipt came.
CREATE TABLE receipts (
    room_sn BIGINT NOT NULL,
    user_sn BIGINT NOT NULL,
    receipt_type BIGINT NOT NULL,
    thread_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room_sn, user_sn, receipt_type, thread_sn)
) CLUSTERED;
CREATE INDEX receipts_by_position ON receipts (room_sn, position);

-- Up to where users have read everything, as the room account data m.fully_read has it.
CREATE TABLE fully_read (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn)
) CLUSTERED;

-- Where a user's unread events of a room begin, whatever their thread: where the user came into the room, or the last unthreaded
-- receipt.
CREATE TABLE unread_floors (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn)
) CLUSTERED;
INSERT INTO unread_floors (user_sn, room_sn, position)
SELECT m.user_sn, m.room_sn, CASE WHEN r.position > m.event_sn THEN r.position ELSE m.event_sn END
FROM memberships m JOIN accounts a ON a.user_sn = m.user_sn
LEFT JOIN read_positions r ON r.user_sn = m.user_sn AND r.room_sn = m.room_sn
WHERE m.membership = 1;
DROP TABLE read_positions;

-- Threads in which something happened, and when that was last.
CREATE TABLE room_threads (
    room_sn BIGINT NOT NULL,
    thread_sn BIGINT NOT NULL,
    last_event_sn BIGINT NOT NULL,
    PRIMARY KEY (room_sn, thread_sn)
) CLUSTERED;
CREATE INDEX room_threads_by_last_event ON room_threads (room_sn, last_event_sn);

-- How many events of a thread up to and including this one notify, or highlight for, those who have the default rules. Those of
-- the main timeline (0) that notify are counted by events.countable_total, and have a row only if one of them highlights.
CREATE TABLE unread_totals (
    room_sn BIGINT NOT NULL,
    thread_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    notify_total BIGINT NOT NULL,
    highlight_total BIGINT NOT NULL,
    PRIMARY KEY (room_sn, thread_sn, event_sn)
) CLUSTERED;

-- By how much a user's totals up to and including an event differ from those.
CREATE TABLE unread_differences (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    thread_sn BIGINT NOT NULL,
    event_sn BIGINT NOT NULL,
    notify_total BIGINT NOT NULL,
    highlight_total BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn, thread_sn, event_sn)
) CLUSTERED;

-- Where a user is not notified of what others are notified of: the events after `since` and up to `until` do not count. The last
-- period is open: its end is the greatest number there is.
CREATE TABLE unread_silences (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn, since)
) CLUSTERED;
CREATE INDEX unread_silences_open ON unread_silences (room_sn, user_sn) WHERE until = 9223372036854775807;
