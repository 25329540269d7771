//! The commands that hold state of a connection: transactions, watches, blocking commands, subscriptions, tracking, `MONITOR`,
//! and what is asked of several nodes at once.
//!
//! Redis keeps this state for each connection; a client of the gateway shares connections with others. So a command that needs such
//! state gets connections of the client's own for as long as it lasts, and what those say finds its way back to the client here.
//! What a client is known to have chosen, watched or subscribed to is data of the client ([`super::client::session`]).

pub mod blocking;
pub mod end;
pub mod exec;
pub mod fan_out;
pub mod keyspace_events;
pub mod local;
pub mod monitor;
pub mod scripts;
pub mod subscribe;
pub mod tracking;
pub mod tracking_connections;
pub mod transaction;
