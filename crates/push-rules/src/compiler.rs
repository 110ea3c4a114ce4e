//! Compiling the rules of many users.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::{CompiledRules, Ruleset, patterns::PatternCache};

/// Bytes that compiled rules take for each byte of their JSON, about.
const BYTES_PER_JSON_BYTE: u64 = 4;

/// Compiles rules, and gives users with equal rules the same ones.
#[derive(Debug)]
pub struct Compiler {
    pub(crate) patterns: PatternCache,
    default: Arc<CompiledRules>,
    pub(crate) rules: Cache<Arc<Ruleset>, Arc<CompiledRules>, RulesetBytes>,
    /// How often rules were found compiled, and how often not; the default rules do not count.
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
}

#[derive(Debug, Clone)]
pub(crate) struct RulesetBytes;

impl Weighter<Arc<Ruleset>, Arc<CompiledRules>> for RulesetBytes {
    fn weight(&self, ruleset: &Arc<Ruleset>, _: &Arc<CompiledRules>) -> u64 {
        u64::try_from(ruleset.json_bytes()).unwrap_or(u64::MAX / 8) * BYTES_PER_JSON_BYTE
    }
}

impl Compiler {
    /// The rule sets that a cache is laid out for, by its size.
    const TYPICAL_RULESET_BYTES: u64 = 4 * 1024;

    /// A compiler that remembers about that many bytes of rules and patterns; the default rules it always remembers.
    pub fn new(max_bytes: u64) -> Self {
        let patterns = PatternCache::new(max_bytes / 4);
        let default = Arc::new(CompiledRules::new(Arc::default(), &patterns));
        let max_rule_bytes = max_bytes - max_bytes / 4;
        let rulesets = usize::try_from(max_rule_bytes / Self::TYPICAL_RULESET_BYTES).unwrap_or(usize::MAX);
        let lifecycle = DefaultLifecycle::default();
        let rules = Cache::with(rulesets, max_rule_bytes, RulesetBytes, Default::default(), lifecycle);
        Self { patterns, default, rules, hits: AtomicU64::default(), misses: AtomicU64::default() }
    }

    /// The rules, compiled now or before. For users with the default rules nothing is allocated.
    pub fn compile(&self, ruleset: &Ruleset) -> Arc<CompiledRules> {
        if ruleset.is_default() {
            return Arc::clone(&self.default);
        }
        if let Some(rules) = self.rules.get(ruleset) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return rules;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let ruleset = Arc::new(ruleset.clone());
        let rules = Arc::new(CompiledRules::new(Arc::clone(&ruleset), &self.patterns));
        self.rules.insert(ruleset, Arc::clone(&rules));
        rules
    }
}
