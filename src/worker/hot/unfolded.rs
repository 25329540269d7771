//! Which commands on a hot key do not fold, and so go by themselves even while the key is folded.

use smallvec::SmallVec;

use super::HotKeys;
use crate::command::CommandId;
use crate::worker::core::Core;

/// Commands that are told apart for one key: those that came first. Further ones are not shown.
const COMMANDS_MAX: usize = 8;

/// The commands of one key that did not fold, in the order in which they came first.
#[derive(Debug, Default)]
pub struct UnfoldedCommands(SmallVec<[CommandId; 2]>);

impl UnfoldedCommands {
    /// One came.
    pub fn note(&mut self, command: CommandId) {
        if self.0.len() < COMMANDS_MAX && !self.0.contains(&command) {
            self.0.push(command);
        }
    }

    /// All that came.
    pub fn iter(&self) -> impl Iterator<Item = CommandId> {
        self.0.iter().copied()
    }
}

impl HotKeys {
    /// A command came that does not fold on this key.
    pub fn note_unfolded(&mut self, hash: u64, command: CommandId) {
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.unfolded.note(command);
        }
    }
}

impl HotKeys {
    /// Whether the flushes of a key are calls of the script, which has no step for most writes.
    pub fn is_scripted(&mut self, core: &Core, key: &[u8], hash: u64) -> bool {
        core.config.combine.exactly_once
            || self.entries.get(&hash).is_some_and(|entry| entry.quota.is_some())
            || self.rules.wants_tokens(key, hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandTable;

    #[test]
    fn each_command_is_noted_once_and_they_are_bounded() {
        let table = CommandTable::builtin();
        let ids: Vec<CommandId> = table.iter().map(|(id, _)| id).take(COMMANDS_MAX + 2).collect();
        let mut unfolded = UnfoldedCommands::default();
        ids.iter().chain(&ids).for_each(|id| unfolded.note(*id));
        assert!(unfolded.iter().eq(ids[..COMMANDS_MAX].iter().copied()));
    }
}
