//! The schema, as numbered changes that only go forward.

/// The migrations in their order; the first is number 1.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_foundation.sql"),
    include_str!("migrations/0002_room_graph.sql"),
    include_str!("migrations/0003_jobs.sql"),
    include_str!("migrations/0004_rate_limit_overrides.sql"),
    include_str!("migrations/0005_unread.sql"),
    include_str!("migrations/0006_email.sql"),
    include_str!("migrations/0007_membership_changes.sql"),
    include_str!("migrations/0008_typing.sql"),
    include_str!("migrations/0009_presence.sql"),
    include_str!("migrations/0010_membership_changes_by_room.sql"),
    include_str!("migrations/0011_media.sql"),
    include_str!("migrations/0012_redacted_events.sql"),
    include_str!("migrations/0013_people.sql"),
    include_str!("migrations/0014_thumbnail_sizes.sql"),
    include_str!("migrations/0015_what_is_looked_up.sql"),
    include_str!("migrations/0016_signing_keys.sql"),
    include_str!("migrations/0017_accounts.sql"),
    include_str!("migrations/0018_nodes.sql"),
    include_str!("migrations/0019_encryption.sql"),
    include_str!("migrations/0020_openid_tokens.sql"),
    include_str!("migrations/0021_other_servers.sql"),
    include_str!("migrations/0022_timeline_order.sql"),
    include_str!("migrations/0023_remote_memberships.sql"),
    include_str!("migrations/0024_events_of_others.sql"),
    include_str!("migrations/0025_outbox.sql"),
    include_str!("migrations/0026_to_device_outbox.sql"),
    include_str!("migrations/0027_partial_entries.sql"),
    include_str!("migrations/0028_members_by_server.sql"),
    include_str!("migrations/0029_remote_device_lists.sql"),
    include_str!("migrations/0030_dehydrated_devices.sql"),
    include_str!("migrations/0031_relations.sql"),
    include_str!("migrations/0032_moderation.sql"),
    include_str!("migrations/0033_search.sql"),
];

/// The last schema of the versions that allowed one server on a database.
pub(crate) const LAST_OF_ONE_SERVER: i64 = 17;
