-- A user's history in one room is asked for more often than in all rooms: it comes first in the key. Two keys that both begin with
-- the user left the choice to the planner, which went through all rooms.
DROP INDEX membership_changes_by_room;
ALTER TABLE membership_changes RENAME TO old_membership_changes;
CREATE TABLE membership_changes (
    user_sn BIGINT NOT NULL,
    room_sn BIGINT NOT NULL,
    position BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    PRIMARY KEY (user_sn, room_sn, position)
) CLUSTERED;
INSERT INTO membership_changes (user_sn, room_sn, position, membership)
SELECT user_sn, room_sn, position, membership FROM old_membership_changes;
DROP TABLE old_membership_changes;
CREATE INDEX membership_changes_by_position ON membership_changes (user_sn, position);
