-- The root of the thread in which an event is unread; 0 for the main timeline.
ALTER TABLE events ADD COLUMN thread_sn BIGINT NOT NULL DEFAULT 0;
UPDATE events SET thread_sn = u.thread_sn FROM unread_totals u WHERE u.event_sn = events.event_sn AND u.thread_sn <> 0;

-- What is not unread any more although the totals count it.
CREATE INDEX events_redacted ON events (room_sn, thread_sn, event_sn, redacted_by) WHERE redacted_by IS NOT NULL;
