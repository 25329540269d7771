//! What a worker counts of commands: a row for each that has come, found by its place in the command table.
//!
//! Part of [`super::tallies`], and published with it. To count is to look up by index which row a command has, and that row: no name is
//! hashed or compared. Rows are made when a command comes first, so what is published is as long as the commands in use are many, and no
//! longer than the table. Requests that name no command of the table have one row together.
//!
//! Deliberately absent: names, which the table has.

use super::error_codes::ErrorCodes;
use super::quarters::Quarters;
use crate::command::CommandId;

/// Which row a request is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandRow(u16);

impl CommandRow {
    /// That of requests which name no command that is known.
    pub const UNKNOWN: Self = Self(0);

    /// That of a command. The table is shorter than the numbers are.
    pub fn of(command: CommandId) -> Self {
        Self((command.index() as u16).saturating_add(1))
    }

    /// The place of the command in its table; `None` for those that name none.
    pub fn place(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}

/// A row for each command that has come.
#[derive(Clone, Debug, Default)]
pub struct ByCommand<T> {
    /// By command, the number of its row, counted from 1; 0 where it has none.
    numbers: Vec<u16>,
    rows: Vec<(CommandRow, T)>,
}

impl<T: Default> ByCommand<T> {
    /// The row of a command, made if it has none.
    #[inline]
    pub fn row(&mut self, command: CommandRow) -> &mut T {
        let number = match self.numbers.get(usize::from(command.0)) {
            Some(number) if *number > 0 => *number,
            _ => self.add(command),
        };
        &mut self.rows[usize::from(number) - 1].1
    }

    #[cold]
    fn add(&mut self, command: CommandRow) -> u16 {
        let place = usize::from(command.0);
        if self.numbers.len() <= place {
            self.numbers.resize(place + 1, 0);
        }
        self.rows.push((command, T::default()));
        // There are as many commands as numbers, less one, at most.
        self.numbers[place] = self.rows.len() as u16;
        self.numbers[place]
    }

    /// The row of a command that has come.
    pub fn get(&self, command: CommandRow) -> Option<&T> {
        let number = self.numbers.get(usize::from(command.0))?;
        self.rows.get(usize::from(*number).checked_sub(1)?).map(|(_, row)| row)
    }

    /// All rows, in the order in which their commands came first.
    pub fn iter(&self) -> impl Iterator<Item = (CommandRow, &T)> {
        self.rows.iter().map(|(command, row)| (*command, row))
    }

    /// Adds the rows of another worker, or of another node.
    pub fn merge(&mut self, other: &Self, add: fn(&mut T, &T)) {
        for (command, theirs) in other.iter() {
            add(self.row(command), theirs);
        }
    }
}

/// One command, over all nodes.
#[derive(Clone, Debug, Default)]
pub struct CommandTally {
    /// Requests that were run, by whomever: Redis, or the gateway.
    pub calls: u64,
    /// Those among them that ended with an error.
    pub failed: u64,
    /// Requests that were refused before they ran: by a right, a quota or a limit, for their form, or since the server was in no state to run them.
    pub rejected: u64,
    /// From the last byte of a request to its queued reply. Of those that may block, that the gateway answers at once, and that stand in a
    /// transaction there is none.
    pub whole: Quarters,
    /// What of that the gateway added.
    pub gateway: Quarters,
    /// How long Redis took, for requests that were written to it; for one that was folded, with what it was folded into.
    pub redis: Quarters,
}

impl CommandTally {
    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        let Self { calls, failed, rejected, whole, gateway, redis } = other;
        self.calls += calls;
        self.failed += failed;
        self.rejected += rejected;
        self.whole.merge(whole);
        self.gateway.merge(gateway);
        self.redis.merge(redis);
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            failed: self.failed.saturating_sub(earlier.failed),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            whole: self.whole.since(&earlier.whole),
            gateway: self.gateway.since(&earlier.gateway),
            redis: self.redis.since(&earlier.redis),
        }
    }

    /// Whether anything was counted.
    pub fn is_empty(&self) -> bool {
        self.calls + self.rejected == 0
    }
}

/// One command at one node, or of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandCount {
    /// Requests that were answered.
    pub calls: u64,
    /// Those among them that got an error.
    pub errors: u64,
    /// How long the answers took together, in nanoseconds; what may block left out.
    pub sum_ns: u64,
}

impl CommandCount {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        let Self { calls, errors, sum_ns } = other;
        self.calls += calls;
        self.errors += errors;
        self.sum_ns = self.sum_ns.wrapping_add(*sum_ns);
    }
}

/// What a worker counts of commands, and of the errors that they got.
#[derive(Clone, Debug, Default)]
pub struct CommandTallies {
    /// By command.
    pub commands: ByCommand<CommandTally>,
    /// Error replies that clients got, by the word with which they begin.
    pub errors: ErrorCodes,
}

impl CommandTallies {
    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        self.commands.merge(&other.commands, CommandTally::add);
        self.errors.merge(&other.errors);
    }

    /// What was counted since `earlier`, an earlier sum of the same workers.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self { commands: ByCommand::default(), errors: self.errors.since(&earlier.errors) };
        for (command, row) in self.commands.iter() {
            let delta = earlier.commands.get(command).map_or_else(|| row.clone(), |before| row.since(before));
            if !delta.is_empty() {
                *since.commands.row(command) = delta;
            }
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_row_and_those_that_never_came_have_none() {
        let mut rows: ByCommand<CommandCount> = ByCommand::default();
        rows.row(CommandRow(300)).calls += 2;
        rows.row(CommandRow::UNKNOWN).calls += 1;
        rows.row(CommandRow(300)).calls += 1;
        let counted: Vec<_> = rows.iter().map(|(command, count)| (command.0, count.calls)).collect();
        assert_eq!(counted, [(300, 3), (0, 1)]);
        assert_eq!(rows.get(CommandRow(300)).map(|count| count.calls), Some(3));
        assert_eq!(rows.get(CommandRow(2)), None);
        assert_eq!(rows.get(CommandRow(301)), None);
        let mut both = rows.clone();
        both.row(CommandRow(7)).errors = 5;
        both.merge(&rows, CommandCount::add);
        let counted: Vec<_> = both.iter().map(|(command, count)| (command.0, count.calls)).collect();
        assert_eq!(counted, [(300, 6), (0, 2), (7, 0)]);
    }

    #[test]
    fn what_was_counted_before_is_left_out() {
        let (get, set) = (CommandRow(1), CommandRow(2));
        let mut tallies = CommandTallies::default();
        tallies.commands.row(get).calls = 5;
        tallies.commands.row(get).whole.record_n(2_000, 5);
        let earlier = tallies.clone();
        assert_eq!(tallies.since(&earlier).commands.iter().count(), 0, "nothing has come since");
        tallies.commands.row(get).calls += 2;
        tallies.commands.row(get).whole.record_n(4_000, 2);
        tallies.commands.row(set).rejected += 1;
        let since = tallies.since(&earlier);
        let row = since.commands.get(get).expect("it has come since");
        assert_eq!((row.calls, row.whole.count(), row.whole.sum_ns()), (2, 2, 8_000));
        assert_eq!(since.commands.get(set).map(|row| row.rejected), Some(1));
    }
}
