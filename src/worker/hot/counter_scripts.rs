//! Scripts that the configuration declares to count: which calls are operations that fold, and what becomes of a wrong declaration.
//!
//! Each worker believes a declaration until calls have shown three times in a row that the script does something else. Others may
//! come between the commands of one trial, so one is not enough. Then the script's calls go as they came, as those of any other script,
//! until the configuration is loaded again.

use std::collections::HashMap;

use crate::combine::{Amount, CounterScript, Op, ScriptNews};
use crate::config;
use crate::config::ExpireWhen;
use crate::resp::Request;
use crate::shared::rights::Fold;
use crate::worker::core::Core;

/// Trials in a row after which a declaration counts as wrong.
const DIFFERING_MAX: u8 = 3;

/// The declared scripts.
#[derive(Default)]
pub struct CounterScripts {
    scripts: Vec<CounterScript>,
    places: HashMap<[u8; 40], u16>,
    /// How often in a row trials of each have differed from its declaration.
    differing: Vec<u8>,
}

impl CounterScripts {
    /// Those of a configuration.
    pub fn new(declared: &[config::CounterScript]) -> Self {
        let scripts: Vec<CounterScript> = declared.iter().filter_map(compile).collect();
        let places = scripts.iter().zip(0..).map(|(script, place)| (script.sha1, place)).collect();
        let differing = vec![0; scripts.len()];
        Self { scripts, places, differing }
    }

    /// The operation that an `EVALSHA` is, if it folds.
    pub fn op<'a>(&self, request: &Request<'a>) -> Option<Op<'a>> {
        if self.scripts.is_empty() {
            return None;
        }
        let mut sha1: [u8; 40] = request.arg(1)?.try_into().ok()?;
        sha1.make_ascii_lowercase();
        let place = *self.places.get(&sha1)?;
        if *self.differing.get(usize::from(place))? >= DIFFERING_MAX {
            return None;
        }
        self.scripts.get(usize::from(place))?.op(place, request)
    }

    /// Something was learned of a script on this key.
    pub fn on_news(&mut self, core: &Core, key: &[u8], news: ScriptNews) {
        let (ScriptNews::AsDeclared(place) | ScriptNews::Differs(place, _) | ScriptNews::Refused(place, _)) =
            news;
        let place = usize::from(place);
        let (Some(script), Some(differing)) = (self.scripts.get(place), self.differing.get_mut(place)) else {
            return;
        };
        let name = || String::from_utf8_lossy(&script.sha1).into_owned();
        match news {
            ScriptNews::AsDeclared(_) => *differing = 0,
            ScriptNews::Differs(_, how) => {
                *differing = differing.saturating_add(1);
                if *differing == DIFFERING_MAX && core.gateway.scripts.warns_of(script.sha1) {
                    tracing::warn!(
                        script = name(),
                        key = core.gateway.key_names.label(key),
                        "the script does not do what its [[counter_script]] says: {how}; its calls go as they came: correct the \
                         table or remove it, and load it again"
                    );
                }
            }
            ScriptNews::Refused(_, error) => {
                core.gateway.rights.on_refused(Fold::Scripts);
                if core.gateway.scripts.warns_of(script.sha1) {
                    tracing::warn!(
                        script = name(),
                        key = core.gateway.key_names.label(key),
                        "the upstream user may not do what folding the script takes ({error}), so its calls go as they came; allow it \
                         +eval +evalsha +get +pttl +incrby +set on the keys"
                    );
                }
            }
        }
    }
}

/// `None` for one that the configuration would not have let pass.
fn compile(declared: &config::CounterScript) -> Option<CounterScript> {
    let sha1: [u8; 40] = declared.sha1.to_ascii_lowercase().into_bytes().try_into().ok()?;
    let constant = declared.expire.map(|expire| Amount::Constant(expire.as_millis() as i64));
    let argument = declared.expire_argument.map(|place| Amount::Argument(place, declared.expire_unit.ms()));
    Some(CounterScript {
        sha1,
        by: declared.by_argument.map_or(Amount::Constant(declared.by), |place| Amount::Argument(place, 1)),
        expire_ms: constant.or(argument),
        expires_always: declared.expire_when == ExpireWhen::Always,
    })
}
