-- A changed profile is not a changed membership: users who are in a room stayed in it.
DELETE FROM membership_changes WHERE membership = 1 AND (user_sn, position) IN (
    SELECT user_sn, position FROM (
        SELECT user_sn, position, membership,
               LAG(membership) OVER (PARTITION BY user_sn, room_sn ORDER BY position) AS membership_before
        FROM membership_changes
    ) AS changes WHERE membership = membership_before
);

CREATE INDEX membership_changes_by_room ON membership_changes (user_sn, room_sn, position);
