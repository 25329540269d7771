//! What a worker counts of tenants: a row for each of the configuration, in its order.
//!
//! Part of [`super::tallies`], and published with it. Another configuration begins with the counts of the tenants that it shares with the
//! one before.

use std::sync::Arc;

use super::command_tallies::{ByCommand, CommandCount};
use super::histogram::Octaves;

/// The rows.
#[derive(Clone, Debug, Default)]
pub struct TenantTallies {
    /// Their names.
    pub names: Arc<[Arc<str>]>,
    /// What is counted of them.
    pub rows: Vec<TenantTally>,
}

/// A limit of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantLimit {
    /// Of requests.
    Rate,
    /// Of bytes.
    BytesRate,
    /// Of connections.
    Clients,
}

impl TenantLimit {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [Self::Rate, Self::BytesRate, Self::Clients];

    /// Its place.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it, which is that of its directive.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::BytesRate => "bytes_rate",
            Self::Clients => "clients_max",
        }
    }
}

/// One tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantTally {
    /// Requests answered, those that were refused not included.
    pub requests: u64,
    /// Requests and connections refused, by [`TenantLimit`].
    pub refused: [u64; TenantLimit::COUNT],
    /// Requests that were held back for a while.
    pub delayed: u64,
    /// Requests that got an error, whoever made it, but for those refused.
    pub errors: u64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
    /// From a request to its reply leaving, in microseconds, as its client sees it less the network: what comes before it on its
    /// connection is waited for.
    pub reply_us: Octaves,
    /// Requests answered, by command. Their errors are not told apart here.
    pub commands: ByCommand<CommandCount>,
}

impl TenantTallies {
    /// Rows for these names; those that are known keep their counts.
    pub fn rename(&mut self, names: Arc<[Arc<str>]>) {
        let mut known = std::mem::take(&mut self.rows);
        let former = std::mem::replace(&mut self.names, names);
        let take = |name: &Arc<str>| {
            let place = former.iter().position(|known| known == name);
            place.and_then(|place| known.get_mut(place)).map(std::mem::take).unwrap_or_default()
        };
        self.rows = self.names.iter().map(take).collect();
    }
}

impl TenantTally {
    /// Adds what another worker has counted.
    pub fn add(&mut self, other: &Self) {
        let Self { requests, refused, delayed, errors, bytes_in, bytes_out, reply_us, commands } = other;
        self.requests += requests;
        self.refused.iter_mut().zip(refused).for_each(|(mine, theirs)| *mine += theirs);
        self.delayed += delayed;
        self.errors += errors;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.reply_us.merge(reply_us);
        self.commands.merge(commands, CommandCount::add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_keeps_its_counts_when_others_come_and_go() {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Arc<[Arc<str>]>>();
        let mut tallies = TenantTallies::default();
        tallies.rename(names(&["a", "b"]));
        tallies.rows[1].requests = 7;
        tallies.rename(names(&["c", "b", "d"]));
        let counts: Vec<u64> = tallies.rows.iter().map(|row| row.requests).collect();
        assert_eq!(counts, [0, 7, 0]);
    }
}
