//! What an operator says of folding one key ([`crate::shared::key_modes`]): a rule before those of the file, which [`super::reload`] puts there.
//!
//! Everything else that a rule says of the key stays: how it is read, and whether flushes carry tokens. Keys that are answered before Redis
//! has the write are left alone, and a key under a quota is folded whatever is said, so that is refused.
//!
//! Holds nothing over a restart, and nothing at other gateways: whoever wants that writes a `[[rule]]`.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::command::glob;
use crate::config::{Config, Rule, RuleMode};
use crate::limits::RULED_NAME_BYTES_MAX;
use crate::shared::key_modes::{KeyMode, KeyModes, MODES_MAX};

/// The rules that stand for what is said of keys, for those of a configuration.
fn rules_of(modes: &KeyModes, config: &Config) -> Vec<Rule> {
    let rule = |(key, mode): &(Vec<u8>, KeyMode)| {
        let former = rule_of(key, config).cloned().unwrap_or_default();
        let mode = match mode {
            KeyMode::Fold => RuleMode::Combine,
            KeyMode::Never => RuleMode::Off,
            KeyMode::Auto => return None,
        };
        // The file may say so since.
        (former.mode != RuleMode::WriteBehind).then_some(())?;
        Some(Rule { pattern: literal(key)?, mode, ..former })
    };
    modes.iter().filter_map(rule).collect()
}

/// The rule of the file that holds for a key.
fn rule_of<'c>(key: &[u8], config: &'c Config) -> Option<&'c Rule> {
    config.rules.iter().find(|rule| glob::matches(rule.pattern.as_bytes(), key))
}

/// The pattern that this key alone matches. Patterns are text.
fn literal(key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    let mut pattern = String::with_capacity(key.len());
    for letter in key.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    Some(pattern)
}

/// Why it can't be said of this key, if it can't.
fn refusal(key: &[u8], mode: KeyMode, config: &Config) -> Option<String> {
    if key.is_empty() || key.len() > RULED_NAME_BYTES_MAX {
        return Some(format!("expected a key of 1 to {RULED_NAME_BYTES_MAX} bytes, found {}", key.len()));
    }
    if literal(key).is_none() {
        return Some(
            "the key is no UTF-8, and rules are text: write a [[rule]] that matches it with ?".to_owned(),
        );
    }
    if mode == KeyMode::Auto {
        return None;
    }
    if rule_of(key, config).is_some_and(|rule| rule.mode == RuleMode::WriteBehind) {
        return Some("a rule has this key in write-behind mode; change that rule".to_owned());
    }
    let is_held = config.quotas.iter().any(|quota| glob::matches(quota.pattern.as_bytes(), key));
    (is_held && mode == KeyMode::Never)
        .then(|| "a quota holds this key, and folds it at its home; pause or limit it instead".to_owned())
}

/// What holds, and where it is shown. The reloader has it.
pub struct HeldModes {
    modes: KeyModes,
    shown: Arc<ArcSwap<KeyModes>>,
}

impl HeldModes {
    /// Nothing is said of any key.
    pub fn new(shown: Arc<ArcSwap<KeyModes>>) -> Self {
        Self { modes: KeyModes::default(), shown }
    }

    /// The rules that stand for what is said, before those of a configuration.
    pub fn rules(&self, config: &Config) -> Vec<Rule> {
        rules_of(&self.modes, config)
    }

    /// What is said of a key.
    pub fn of(&self, key: &[u8]) -> KeyMode {
        self.modes.iter().find(|(known, _)| known == key).map_or(KeyMode::Auto, |(_, mode)| *mode)
    }

    /// Says this of a key, and returns what held before.
    ///
    /// # Errors
    /// It can't be said under this configuration, or of no further key: a sentence.
    pub fn say(&mut self, key: &[u8], mode: KeyMode, config: &Config) -> Result<KeyModes, String> {
        if let Some(why) = refusal(key, mode, config) {
            return Err(why);
        }
        let mut modes: KeyModes = self.modes.iter().filter(|(known, _)| known != key).cloned().collect();
        if mode != KeyMode::Auto {
            if modes.len() >= MODES_MAX {
                return Err(format!(
                    "something is said of {MODES_MAX} keys already; leave one of them to the gateway first"
                ));
            }
            modes.push((key.to_vec(), mode));
        }
        Ok(std::mem::replace(&mut self.modes, modes))
    }

    /// Takes back what was said last.
    pub fn restore(&mut self, former: KeyModes) {
        self.modes = former;
    }

    /// Shows what holds.
    pub fn show(&self) {
        self.shown.store(Arc::new(self.modes.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        Config::parse(toml).unwrap()
    }

    #[test]
    fn a_rule_stands_for_what_is_said_and_keeps_the_rest() {
        let config = config(
            "[[rule]]\nmatch = \"sku:*\"\nexactly_once = true\n[[rule]]\nmatch = \"b:*\"\nmode = \"write-behind\"\n",
        );
        let modes = vec![
            (b"sku:1".to_vec(), KeyMode::Never),
            (b"a*[x]".to_vec(), KeyMode::Fold),
            (b"b:1".to_vec(), KeyMode::Fold),
        ];
        let rules = rules_of(&modes, &config);
        assert_eq!(rules.len(), 2, "write-behind stays");
        assert!(rules[0].exactly_once && rules[0].mode == RuleMode::Off);
        let pattern = rules[1].pattern.as_bytes();
        assert!(
            glob::matches(pattern, b"a*[x]")
                && !glob::matches(pattern, b"aax")
                && !glob::matches(pattern, b"a[x]")
        );
    }

    #[test]
    fn what_can_not_be_is_refused_with_what_to_do() {
        let config = config(
            "[[rule]]\nmatch = \"b:*\"\nmode = \"write-behind\"\n[[quota]]\nmatch = \"q:*\"\nlimit = 3\n",
        );
        let why = |key: &[u8], mode| refusal(key, mode, &config).unwrap_or_default();
        assert!(why(b"b:1", KeyMode::Fold).contains("write-behind"));
        assert!(why(b"q:1", KeyMode::Never).contains("quota"));
        assert_eq!(why(b"q:1", KeyMode::Fold), "");
        assert!(why(b"\xff", KeyMode::Fold).contains("UTF-8"));
        assert!(why(b"", KeyMode::Auto).contains("found 0"));
        assert_eq!(why(b"b:1", KeyMode::Auto), "");
    }
}
