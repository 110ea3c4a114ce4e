//! The paths.

mod events;
mod notifying;
mod states;
mod syncing;

/// Makes what a path needs, and the path.
pub(crate) type Prepare = fn() -> Box<dyn FnMut()>;

/// All paths by their names.
pub(crate) const PATHS: &[(&str, Prepare)] = &[
    ("build and sign an event", events::build),
    ("canonical JSON of a content", events::canonical),
    ("parse a received event", events::parse_received),
    ("load a stored event", events::load_stored),
    ("auth check of a message", events::check_message),
    ("auth check of a join", events::check_join),
    ("state map, one change among 50,000 members", states::change),
    ("state map, one look-up among 50,000 members", states::look_up),
    ("push rules, one message for 1,000 members", notifying::audience),
    ("push rules, one message for one user", notifying::one_user),
    ("sync answer, 20 events", syncing::answer),
    ("parse a filter", syncing::parse_filter),
    ("filter 20 events", syncing::filter_events),
    ("write and parse a sync token", syncing::token),
];
