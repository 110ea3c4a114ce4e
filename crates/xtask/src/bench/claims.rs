//! Claims about the server's speed, with the benchmarks that show them.

/// One row of the table.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    /// What is claimed, in words.
    pub(crate) wanted: &'static str,
    /// The benchmark of ours and the plain one beside it.
    pub(crate) evidence: Evidence,
    /// Which benchmark to run: crate and name.
    pub(crate) bench: (&'static str, &'static str),
    /// What has to be known to read the figure.
    pub(crate) remark: &'static str,
}

/// Where the figures are.
pub(crate) enum Evidence {
    /// Two of Criterion's benchmarks, by their full names: ours, baseline.
    Times(&'static str, &'static str),
    /// A line of counted figures, by its name.
    Counted(&'static str),
}

use Evidence::{Counted, Times};

const CONCURRENCY: &str = "10 to 100 times the concurrent reads";
const POOL: &str = "50 to 80 % less waiting";
const BATCHING: &str = "70 to 90 % less time";
const COMPACT: &str = "40 to 60 % less memory";
const BORROWED: &str = "30 to 50 % fewer allocations";
const GLOBS: &str = "5 to 20 times faster";
const EARLY: &str = "50 to 80 % less time";
const RESERVED: &str = "fewer allocations";

/// All claims, in the order of the table.
pub(crate) const CLAIMS: &[Claim] = &[
    Claim {
        text: "`arc-swap` against a mutex, rooms' states, 1 thread",
        wanted: CONCURRENCY,
        evidence: Times(
            "what is known of a room's state, 1 threads/arc-swap",
            "what is known of a room's state, 1 threads/baseline: the same behind a mutex",
        ),
        bench: ("sync", "read_mostly"),
        remark: "does not hold: there is nothing to wait for",
    },
    Claim {
        text: "`arc-swap` against a mutex, rooms' states, 2 threads",
        wanted: CONCURRENCY,
        evidence: Times(
            "what is known of a room's state, 2 threads/arc-swap",
            "what is known of a room's state, 2 threads/baseline: the same behind a mutex",
        ),
        bench: ("sync", "read_mostly"),
        remark: "two cores bound the gain",
    },
    Claim {
        text: "`arc-swap` against a mutex, rooms' states, 8 threads",
        wanted: CONCURRENCY,
        evidence: Times(
            "what is known of a room's state, 8 threads/arc-swap",
            "what is known of a room's state, 8 threads/baseline: the same behind a mutex",
        ),
        bench: ("sync", "read_mostly"),
        remark: "two cores bound the gain",
    },
    Claim {
        text: "`RwLock` against a mutex, newest entries of the log, 8 threads",
        wanted: CONCURRENCY,
        evidence: Times(
            "the newest entries of the log, 8 threads/RwLock",
            "the newest entries of the log, 8 threads/baseline: the same behind a mutex",
        ),
        bench: ("sync", "read_mostly"),
        remark: "does not hold on two cores: readers write the lock's own cache line, and hold it for a moment only",
    },
    Claim {
        text: "`arc-swap` against a mutex, configuration, 8 threads",
        wanted: CONCURRENCY,
        evidence: Times(
            "reloadable configuration, 8 threads/arc-swap",
            "reloadable configuration, 8 threads/baseline: mutex",
        ),
        bench: ("sync", "read_mostly"),
        remark: "two cores bound the gain",
    },
    Claim {
        text: "borrowed default push rules against owned text, no rules of their own",
        wanted: BORROWED,
        evidence: Counted("push rules of a user with 0 of their own"),
        bench: ("push-rules", "defaults"),
        remark: "shared constants",
    },
    Claim {
        text: "the same, 20 rules of their own",
        wanted: BORROWED,
        evidence: Counted("push rules of a user with 20 of their own"),
        bench: ("push-rules", "defaults"),
        remark: "",
    },
    Claim {
        text: "compact event metadata against a map of named values",
        wanted: COMPACT,
        evidence: Counted("event metadata"),
        bench: ("storage", "event_metadata"),
        remark: "without the event's text, which is the same in both",
    },
    Claim {
        text: "the same against a map of numbers, nothing but what never is absent",
        wanted: COMPACT,
        evidence: Counted("event metadata, numbers only"),
        bench: ("storage", "event_metadata"),
        remark: "does not hold: the map lacks the event ID and what is rare",
    },
    Claim {
        text: "remembered pattern against a regular expression compiled each time, compiling",
        wanted: "99 % less",
        evidence: Times(
            "one pattern from its text/remembered/new*corner",
            "one pattern from its text/baseline: regex compiled anew/new*corner",
        ),
        bench: ("push-rules", "patterns"),
        remark: "",
    },
    Claim {
        text: "the same against our own pattern compiled each time",
        wanted: "99 % less",
        evidence: Times(
            "one pattern from its text/remembered/new*corner",
            "one pattern from its text/compiled anew/new*corner",
        ),
        bench: ("push-rules", "patterns"),
        remark: "does not hold: compiling a glob is cheap already",
    },
    Claim {
        text: "matching with remembered patterns, six patterns in a body",
        wanted: "10 to 100 times faster",
        evidence: Times(
            "six patterns in a body of 85 bytes/remembered",
            "six patterns in a body of 85 bytes/baseline: regex compiled anew",
        ),
        bench: ("push-rules", "patterns"),
        remark: "",
    },
    Claim {
        text: "early exit against all rules, 5th of 35 rules matches",
        wanted: EARLY,
        evidence: Times(
            "early exit with twenty rules more/5th rule, a default override rule: early exit",
            "early exit with twenty rules more/5th rule, a default override rule: baseline, all rules",
        ),
        bench: ("push-rules", "evaluate"),
        remark: "",
    },
    Claim {
        text: "early exit against all rules, 21st matches",
        wanted: EARLY,
        evidence: Times(
            "early exit with twenty rules more/21st rule, a keyword: early exit",
            "early exit with twenty rules more/21st rule, a keyword: baseline, all rules",
        ),
        bench: ("push-rules", "evaluate"),
        remark: "does not hold: most is done when a late rule matches",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, a value that fits",
        wanted: GLOBS,
        evidence: Times(
            "a whole value/glob/*:example.org on @member123:example.org",
            "a whole value/baseline: regex compiled before/*:example.org on @member123:example.org",
        ),
        bench: ("push-rules", "patterns"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, a value that differs at its beginning",
        wanted: GLOBS,
        evidence: Times(
            "a whole value/glob/@muted*:example.org on @member123:example.org",
            "a whole value/baseline: regex compiled before/@muted*:example.org on @member123:example.org",
        ),
        bench: ("push-rules", "patterns"),
        remark: "about twice: a regular expression sees a difference at the beginning at once as well",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, a literal",
        wanted: GLOBS,
        evidence: Times(
            "values of each kind/glob/literal, equal",
            "values of each kind/baseline: regex/literal, equal",
        ),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, a prefix",
        wanted: GLOBS,
        evidence: Times("values of each kind/glob/prefix, there", "values of each kind/baseline: regex/prefix, there"),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, a suffix",
        wanted: GLOBS,
        evidence: Times("values of each kind/glob/suffix, there", "values of each kind/baseline: regex/suffix, there"),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, contained in an ID",
        wanted: GLOBS,
        evidence: Times(
            "values of each kind/glob/contains, there",
            "values of each kind/baseline: regex/contains, there",
        ),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, contained in a body",
        wanted: GLOBS,
        evidence: Times(
            "values of each kind/glob/contains, there, a body",
            "values of each kind/baseline: regex/contains, there, a body",
        ),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, `?` in the middle",
        wanted: GLOBS,
        evidence: Times(
            "values of each kind/glob/`?` in the middle, there",
            "values of each kind/baseline: regex/`?` in the middle, there",
        ),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions, both compiled before, not ASCII",
        wanted: GLOBS,
        evidence: Times(
            "values of each kind/glob/not ASCII, contains, there",
            "values of each kind/baseline: regex/not ASCII, contains, there",
        ),
        bench: ("push-rules", "kinds"),
        remark: "",
    },
    Claim {
        text: "globs against regular expressions compiled each time, a value",
        wanted: GLOBS,
        evidence: Times(
            "a whole value/glob/@muted*:example.org on @member123:example.org",
            "a whole value/baseline: regex compiled anew/@muted*:example.org on @member123:example.org",
        ),
        bench: ("push-rules", "patterns"),
        remark: "",
    },
    Claim {
        text: "worst pattern on 60 bytes against a matcher that tries again",
        wanted: "linear",
        evidence: Times(
            "hostile patterns/glob/*a, 5 times, b, on 60 bytes",
            "hostile patterns/baseline: trying again/*a, 5 times, b, on 60 bytes",
        ),
        bench: ("push-rules", "patterns"),
        remark: "",
    },
    Claim {
        text: "worst pattern on 60,000 bytes against a regular expression compiled before",
        wanted: "linear",
        evidence: Times(
            "hostile patterns/glob/*a, 200 times, b, on 60,000 bytes",
            "hostile patterns/baseline: regex compiled before/*a, 200 times, b, on 60,000 bytes",
        ),
        bench: ("push-rules", "patterns"),
        remark: "",
    },
    Claim {
        text: "body of 100 MiB into a file, in pieces against buffered, most memory",
        wanted: "80 to 95 % less memory",
        evidence: Counted("a body of 100 MiB"),
        bench: ("api", "bodies"),
        remark: "axum's bodies; uploads take this way",
    },
    Claim {
        text: "64 writes in shared commits against one by one, SQLite",
        wanted: BATCHING,
        evidence: Times("64 writes, SQLite/together", "64 writes, SQLite/baseline: one after the other"),
        bench: ("storage", "writing"),
        remark: "",
    },
    Claim {
        text: "64 writes in shared commits against one by one, PostgreSQL",
        wanted: BATCHING,
        evidence: Times("64 writes, PostgreSQL/together", "64 writes, PostgreSQL/baseline: one after the other"),
        bench: ("storage", "writing"),
        remark: "just short: commits are cheap where PostgreSQL does not sync, as that of the tests",
    },
    Claim {
        text: "first 8 reads at once, connections opened before, PostgreSQL",
        wanted: POOL,
        evidence: Times(
            "first 8 reads at once, PostgreSQL/connections opened before",
            "first 8 reads at once, PostgreSQL/baseline: one opened before",
        ),
        bench: ("storage", "starting"),
        remark: "",
    },
    Claim {
        text: "first 8 reads at once, SQLite",
        wanted: POOL,
        evidence: Times(
            "first 8 reads at once, SQLite/connections opened before",
            "first 8 reads at once, SQLite/baseline: one opened before",
        ),
        bench: ("storage", "starting"),
        remark: "does not hold: all readers are opened at the start whatever the minimum is, so there is nothing to gain",
    },
    Claim {
        text: "rooms read when asked for against all at the start, 20,000 rooms",
        wanted: "quicker start",
        evidence: Times(
            "start on 20000 rooms, SQLite/rooms read when asked for",
            "start on 20000 rooms, SQLite/baseline: all rooms read",
        ),
        bench: ("storage", "starting"),
        remark: "users, rooms' heads, push rules and states are read at first use",
    },
    Claim {
        text: "answer of 100 events, buffer sized against room for each event",
        wanted: RESERVED,
        evidence: Counted("a list of 100 events"),
        bench: ("rooms", "reserved"),
        remark: "either way each event is written at once",
    },
    Claim {
        text: "lists that no longer grow, `Box<[T]>` against vectors that have grown, 1 to 24 numbers",
        wanted: "less memory",
        evidence: Counted("lists that no longer grow"),
        bench: ("rooms", "reserved"),
        remark: "",
    },
    Claim {
        text: "40 KiB in pieces, buffer sized against one that grows",
        wanted: "less time",
        evidence: Times(
            "copying 40 KiB in pieces/buffer sized",
            "copying 40 KiB in pieces/baseline: buffer that grows",
        ),
        bench: ("rooms", "reserved"),
        remark: "",
    },
    Claim {
        text: "cache hit against an LRU map behind a mutex, 1 thread",
        wanted: "quicker",
        evidence: Times("cache hit/cache/1", "cache hit/baseline: LRU map behind a mutex/1"),
        bench: ("homeserver-core", "cache"),
        remark: "does not hold: an entry knows its age and its weight, and is longer for that",
    },
    Claim {
        text: "cache hit against an LRU map behind a mutex, 8 threads",
        wanted: "quicker",
        evidence: Times("cache hit/cache/8", "cache hit/baseline: LRU map behind a mutex/8"),
        bench: ("homeserver-core", "cache"),
        remark: "",
    },
    Claim {
        text: "cache write against an LRU map behind a mutex, 1 thread",
        wanted: "quicker",
        evidence: Times("cache write/cache/1", "cache write/baseline: LRU map behind a mutex/1"),
        bench: ("homeserver-core", "cache"),
        remark: "does not hold, for the same reason",
    },
    Claim {
        text: "cache write against an LRU map behind a mutex, 8 threads",
        wanted: "quicker",
        evidence: Times("cache write/cache/8", "cache write/baseline: LRU map behind a mutex/8"),
        bench: ("homeserver-core", "cache"),
        remark: "does not hold on two cores: both wait for a core",
    },
];
