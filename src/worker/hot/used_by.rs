//! Who uses a hot key, and with which commands: what its page shows.
//!
//! One request in [`SAMPLED`] is looked at, and stands for all: the others cost a count. Of commands and of clients the heaviest
//! are kept, as in a space-saving sketch: who comes while all places are taken gets the place of the smallest, with its count. Counts
//! fade by half each second, so that they tell of the last few.
//!
//! Kept for keys that are combined here, at the worker of the client. Owns nothing else, and decides nothing.

use smallvec::SmallVec;

use super::HotKeys;
use crate::command::CommandId;

/// Of so many requests one is looked at.
const SAMPLED: u32 = 16;

/// Commands, and clients, that are kept for one key.
pub const KEPT_MAX: usize = 8;

/// Between two halvings.
const HALVED_NS: u64 = 1_000_000_000;

/// The heaviest of many, with how often each was seen.
#[derive(Debug)]
struct Heaviest<T>(SmallVec<[(T, u32); 2]>);

impl<T> Default for Heaviest<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T: Copy + PartialEq> Heaviest<T> {
    fn add(&mut self, who: T, times: u32) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == who) {
            *count = count.saturating_add(times);
        } else if self.0.len() < KEPT_MAX {
            self.0.push((who, times));
        } else if let Some(least) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            *least = (who, least.1.saturating_add(times));
        }
    }

    fn halve(&mut self) {
        self.0.retain(|(_, count)| {
            *count /= 2;
            *count > 0
        });
    }
}

/// Who uses one key.
#[derive(Debug, Default)]
pub struct UsedBy {
    commands: Heaviest<CommandId>,
    clients: Heaviest<u64>,
    halved_ns: u64,
}

impl UsedBy {
    /// Commands with how often each was seen lately.
    pub fn commands(&self) -> impl Iterator<Item = (CommandId, u32)> {
        self.commands.0.iter().copied()
    }

    /// Ids of clients with how often each was seen lately.
    pub fn clients(&self) -> impl Iterator<Item = (u64, u32)> {
        self.clients.0.iter().copied()
    }

    /// Lets counts fade, when it is time.
    pub fn fade(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.halved_ns) >= HALVED_NS {
            self.halved_ns = now_ns;
            self.commands.halve();
            self.clients.halve();
        }
    }
}

impl HotKeys {
    /// Whether the request at hand is one that is looked at.
    pub fn is_use_sampled(&mut self) -> bool {
        self.uses = self.uses.wrapping_add(1);
        self.uses.is_multiple_of(SAMPLED)
    }

    /// A client uses a key with a command, so many times in a row.
    pub fn note_use(&mut self, hash: u64, command: CommandId, client: u64, times: u32) {
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.used_by.commands.add(command, times);
            entry.used_by.clients.add(client, times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_stay_and_what_is_over_fades() {
        let mut used = UsedBy::default();
        for round in 0..100 {
            used.clients.add(1, 30);
            used.clients.add(2, 10);
            used.clients.add(1_000 + round, 1);
        }
        let count =
            |used: &UsedBy, id| used.clients().find(|(known, _)| *known == id).map(|(_, count)| count);
        assert_eq!((count(&used, 1), count(&used, 2)), (Some(3_000), Some(1_000)));
        assert_eq!(used.clients().count(), KEPT_MAX);
        used.fade(HALVED_NS);
        used.fade(HALVED_NS + 1);
        assert_eq!(count(&used, 1), Some(1_500), "once a second");
        for second in 2..20 {
            used.fade(second * HALVED_NS);
        }
        assert_eq!(used.clients().count(), 0);
    }
}
