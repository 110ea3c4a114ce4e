//! A share of the memory that all caches of a server have together.

use std::sync::atomic::Ordering;

use homeserver_core::{MemoryUsage, MemoryUser};

use crate::Compiler;

/// The part of a compiler's memory that is for patterns.
const PATTERNS: u64 = 4;

impl MemoryUser for Compiler {
    fn usage(&self) -> MemoryUsage {
        let (rules, patterns) = (&self.rules, &self.patterns.0);
        MemoryUsage {
            entries: (rules.len() + patterns.len()) as u64,
            entry_bytes: rules.weight() + patterns.weight(),
            capacity_bytes: rules.capacity() + patterns.capacity(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            // Neither counts what it drops: that it is full tells enough.
            ..MemoryUsage::default()
        }
    }

    fn set_capacity(&self, bytes: u64) {
        self.patterns.0.set_capacity(bytes / PATTERNS);
        self.rules.set_capacity(bytes - bytes / PATTERNS);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use homeserver_core::{MemoryBudget, MemoryUser as _, SystemClock};

    use crate::{Compiler, NewRule, RuleKind, RulePosition, Ruleset};

    #[test]
    fn a_compiler_keeps_to_its_share_of_the_budget() {
        let budget = MemoryBudget::new(256 << 10, Arc::new(SystemClock));
        let compiler = Arc::new(Compiler::new(1 << 30));
        budget.join("push_rules", &compiler);
        for number in 0..2_000 {
            let rule = format!(r#"{{"pattern":"word{number}","actions":["notify"]}}"#);
            let rule = NewRule::parse(RuleKind::Content, rule.as_bytes()).unwrap();
            let mut ruleset = Ruleset::default();
            ruleset.put(RuleKind::Content, "mine", rule, RulePosition::default()).unwrap();
            compiler.compile(&ruleset);
            compiler.compile(&ruleset);
        }
        let usage = compiler.usage();
        assert!(usage.bytes() <= 256 << 10 && usage.entries > 10, "{usage:?}");
        assert_eq!((usage.hits, usage.misses), (2_000, 2_000));
    }
}
