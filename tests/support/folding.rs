//! Folding as a test wants it: forced on, off, or switched at random while the test runs, as an operator switches it: by a rule that
//! comes, goes and changes.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::gateway::Gateway;

/// Whether operations are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    On,
    Off,
    Switching,
}

impl Folding {
    pub const ALL: [Folding; 3] = [Folding::On, Folding::Off, Folding::Switching];

    /// The rule for keys of this pattern to begin with.
    pub fn rule(self, pattern: &str) -> String {
        rule(pattern, if self == Folding::On { "combine" } else { "off" })
    }
}

fn rule(pattern: &str, mode: &str) -> String {
    format!("[[rule]]\nmatch = '{pattern}'\nmode = '{mode}'\n")
}

/// Reloads gateways with other rules now and then.
pub struct Switch<'a> {
    gateways: &'a [Gateway],
    config: String,
    pattern: String,
    folding: Folding,
    rng: SmallRng,
    switched: usize,
}

impl<'a> Switch<'a> {
    /// `config` is the rest of the gateways' configuration, before the rule.
    pub fn new(
        gateways: &'a [Gateway],
        config: &str,
        pattern: &str,
        folding: Folding,
        seed: u64,
    ) -> Switch<'a> {
        let (config, pattern) = (config.to_owned(), pattern.to_owned());
        Switch { gateways, config, pattern, folding, rng: SmallRng::seed_from_u64(!seed), switched: 0 }
    }

    /// Switches with a probability of one in so many, if this is to switch at all.
    pub fn perhaps(&mut self, one_in: u32) {
        if self.folding == Folding::Switching && self.rng.random_ratio(1, one_in) {
            let gateway = &self.gateways[self.rng.random_range(0..self.gateways.len())];
            let rule = match self.rng.random_range(0..5) {
                0 => String::new(),
                1 | 2 => rule(&self.pattern, "off"),
                _ => rule(&self.pattern, "combine"),
            };
            gateway.reload(&format!("{}{rule}", self.config));
            self.switched += 1;
        }
    }

    /// How often it has switched.
    pub fn switched(&self) -> usize {
        self.switched
    }
}
