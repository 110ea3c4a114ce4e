//! The limits of a user's push rules. The specification sets none; these are far above what clients write.

/// Rules that a user may have besides the default ones; a muted room is one.
pub const MAX_RULES: usize = 4_096;

/// Bytes of a rule's ID; room and user IDs have no more.
pub const MAX_RULE_ID_BYTES: usize = 255;

/// Conditions of one rule.
pub const MAX_CONDITIONS: usize = 64;

/// Actions of one rule.
pub const MAX_ACTIONS: usize = 32;

/// Bytes of a pattern.
pub const MAX_PATTERN_BYTES: usize = 512;

/// Bytes of one rule as JSON.
pub const MAX_RULE_BYTES: usize = 16 * 1024;

/// Bytes of all of a user's rules as JSON.
pub const MAX_RULESET_BYTES: usize = 1024 * 1024;

/// Levels of objects and arrays inside one another that are read of an event; no rule matches what is deeper.
pub const MAX_NESTING: usize = 127;
