//! Discovers the upstream, and keeps the published topology true: one keeper for each cluster.
//!
//! The round trip: something makes a discovery due (a worker's request, the timer, new settings) -> [`discover`] asks a few
//! nodes at once -> [`parse`] and [`info`] read the replies into a [`view`], [`choose`] picks the one to believe ->
//! [`registry`] gives addresses their indexes and says whether anything changed -> the topology is published.
//!
//! `discover`, `sentinel` and `facts` ask. `keeper` decides when and which nodes. `diagnose` says what is at an address that is no upstream.
//! All the rest is pure.
//!
//! Invariant: at most one discovery of a cluster is under way, and however many workers ask, discoveries are at least 100 ms apart.
//!
//! It never decides what a request does: a worker that meets a redirect follows it by itself and tells the keeper.

mod change;
mod choose;
mod diagnose;
mod discover;
mod facts;
mod info;
mod keeper;
mod news;
mod parse;
mod registry;
mod sentinel;
mod settings;
mod view;

pub use info::{ClusterState, field};
pub use keeper::{Published, SharedRegistry, TopologyKeeper};
pub use settings::KeeperSettings;

#[cfg(test)]
mod tests;
