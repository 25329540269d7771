//! The quotas of the configuration, compiled so that a key without a quota costs a hash or two.
//!
//! A key can only match a pattern if it begins with the pattern's literal prefix (up to the first star, question mark,
//! bracket or backslash). The prefixes are hashed by length, and a configuration has few lengths. So a key without a quota
//! costs one lookup per length, however many quotas there are.

use std::collections::HashMap;

use bytes::Bytes;

use super::{key_quota::KeyQuota, template};
use crate::{command::glob, config::Quota};

/// All quotas, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct QuotaRules {
    quotas: Vec<Quota>,
    by_prefix: HashMap<Vec<u8>, Vec<u16>, ahash::RandomState>,
    prefix_lens: Vec<usize>,
}

impl QuotaRules {
    /// Takes quotas as a parsed configuration has them: at most 1000, each with exactly one of limit, limit key and
    /// floor, and their values in range.
    pub fn compile(quotas: &[Quota]) -> Self {
        let mut rules = Self { quotas: quotas.to_vec(), ..Self::default() };
        for (rule, quota) in (0..).zip(quotas) {
            let prefix = literal_prefix(quota.pattern.as_bytes());
            rules.prefix_lens.push(prefix.len());
            rules.by_prefix.entry(prefix.to_vec()).or_default().push(rule);
        }
        rules.prefix_lens.sort_unstable();
        rules.prefix_lens.dedup();
        rules
    }

    /// There is no quota at all.
    pub fn is_empty(&self) -> bool {
        self.quotas.is_empty()
    }

    /// The quota of a rule's number, counted from 0 in the order of the configuration.
    pub fn quota(&self, rule: u16) -> Option<&Quota> {
        self.quotas.get(usize::from(rule))
    }

    /// What holds this key: every quota whose pattern matches it, as one. `None` if none does. The answer stays the same
    /// as long as the rules do, so that it is asked for once per key.
    pub fn of(&self, key: &[u8]) -> Option<KeyQuota> {
        let mut rules: Vec<u16> = self
            .prefix_lens
            .iter()
            .filter_map(|&len| self.by_prefix.get(key.get(..len)?))
            .flatten()
            .copied()
            .filter(|&rule| glob::matches(self.quotas[usize::from(rule)].pattern.as_bytes(), key))
            .collect();
        if rules.is_empty() {
            return None;
        }
        rules.sort_unstable();
        let key = Bytes::copy_from_slice(key);
        let quotas: Vec<_> = rules.iter().map(|&rule| (rule, &self.quotas[usize::from(rule)])).collect();
        Some(KeyQuota::merge(key, &quotas))
    }

    /// What an operator has to know at start: one sentence for each quota whose limit takes effect later than the next
    /// flush.
    pub fn notices(&self) -> Vec<String> {
        self.quotas.iter().filter_map(notice).collect()
    }
}

fn notice(quota: &Quota) -> Option<String> {
    let name = quota.limit_key.as_ref()?;
    let (pattern, recheck) = (&quota.pattern, quota.recheck);
    if quota.window.is_some() {
        return Some(format!(
            "quota {pattern:?}: limit key {name:?} is the limit of a window, so it is polled every {recheck:?}"
        ));
    }
    (!template::is_beside_counter(pattern.as_bytes(), name.as_bytes())).then(|| {
        format!(
            "quota {pattern:?}: limit key {name:?} is polled every {recheck:?} for counters that are in another slot; \
             with the same hash tag in both names it would be read with every flush"
        )
    })
}

fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(pattern.len());
    &pattern[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn rules(text: &str) -> QuotaRules {
        QuotaRules::compile(&Config::parse(text).unwrap().quotas)
    }

    #[test]
    fn finds_every_quota_that_matches() {
        let patterns =
            ["sku:*:reserved", "sku:1:*", "*", "", "s?u:1:x", "sku:[12]:reserved", "sku:1:reserved", "\\*"];
        let text: String =
            patterns.iter().map(|pattern| format!("[[quota]]\nmatch='{pattern}'\nlimit=1\n")).collect();
        // The configuration refuses an empty pattern; the rules need not care.
        let mut quotas = Config::parse(&text.replace("match=''", "match='~'")).unwrap().quotas;
        quotas[3].pattern.clear();
        let rules = QuotaRules::compile(&quotas);
        for key in ["sku:1:reserved", "sku:1:x", "sku:3:reserved", "", "*", "s", "skv", "sku:2:reserved"] {
            let expect: Vec<u16> = (0..)
                .zip(patterns)
                .filter(|(_, pattern)| glob::matches(pattern.as_bytes(), key.as_bytes()))
                .map(|(rule, _)| rule)
                .collect();
            let found: Vec<_> =
                rules.of(key.as_bytes()).map(|quota| quota.rules().collect()).unwrap_or_default();
            assert_eq!(expect, found, "{key}");
        }
    }

    #[test]
    fn most_keys_match_nothing() {
        let rules = rules("[[quota]]\nmatch='sku:*:reserved'\nlimit=1\n");
        for key in ["", "s", "sku:", "sku:1:sold", "session:1", "sku:1:reserved:x", "\u{ff}"] {
            assert!(rules.of(key.as_bytes()).is_none(), "{key}");
        }
        assert!(rules.of(b"sku:\xff\r\n:reserved").is_some());
        assert!(QuotaRules::compile(&[]).of(b"k").is_none());
    }

    #[test]
    fn says_which_limits_are_polled() {
        let check = |quota: &str, expect: Option<&str>| {
            let notices = rules(&format!("[[quota]]\n{quota}\n")).notices();
            assert_eq!(notices.len(), usize::from(expect.is_some()), "{notices:?}");
            assert!(notices.iter().all(|notice| notice.contains(expect.unwrap_or_default())), "{notices:?}");
        };
        check("match='a:*'\nlimit=1", None);
        check("match='a:{*}:n'\nlimit_key='a:{$1}:limit'", None);
        check("match='a:*:n'\nlimit_key='a:$1:limit'", Some("polled every 50ms for counters"));
        check("match='a:{*}:n'\nlimit_key='a:{$1}:limit'\nwindow='1s'", Some("the limit of a window"));
    }
}
